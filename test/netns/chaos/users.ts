import { askAdmin } from '../../../src/daemon/admin.ts';
import { shownIps } from '../../sim/shown-status.ts';
import { nodePortOf, pause, type Port, serviceNames, type Wish } from './cluster.ts';
import { type Fault, never, quietly, type Random } from './fault.ts';
import type { World } from './world.ts';

/** Two Services request it. */
const sharedAddress = '192.0.2.110';
const sharing: readonly string[] = ['s1', 's2'];

const nodeNames = ['n1', 'n2', 'n3'];

/** With these, HAProxy serves a Service as without them. */
const options: readonly Readonly<Record<string, string>>[] = [
  { 'furiwake.dev/backends': 'pods' },
  { 'furiwake.dev/proxy-protocol': 'v2' },
  { 'furiwake.dev/balance': 'leastconn' },
  { 'furiwake.dev/connect-timeout': '1s', 'furiwake.dev/idle-timeout': '10m' },
  { 'furiwake.dev/health-check': 'tcp', 'furiwake.dev/health-check-interval': '1s' },
  { 'furiwake.dev/max-connections': '100', 'furiwake.dev/slow-start': '5s' },
  { 'furiwake.dev/drain-time': '2s', 'furiwake.dev/connection-rate': '1000' },
];

/** `isOwn`: the address of the host is the only one, so that each Service has ports of its own. */
export function randomWish(name: string, random: Random, isOwn: boolean): Wish {
  const dataplane = random.pick(['haproxy', 'nat', undefined, undefined, isOwn ? 'nat' : 'direct'] as const);
  const count = 1 + random.int(2);
  // Those that share an address have ports of their own.
  const block = isOwn ? serviceNames.indexOf(name as 's0') : sharing.indexOf(name);
  const first = 80 + Math.max(0, block) * 10;
  const start = random.int(4);
  const ports = Array.from({ length: count }, (_, index): Port => {
    const protocol = random.int(3) > 0 ? 'TCP' : 'UDP';
    return { port: first + index + random.int(2) * 2, protocol, nodePort: nodePortOf(name, start + index) };
  });
  const [{ port, protocol } = { port: first, protocol: 'TCP' }] = ports;
  const twin: Port = { port, protocol: protocol === 'TCP' ? 'UDP' : 'TCP', nodePort: nodePortOf(name, start + count) };
  const isWithoutNodePorts = dataplane === 'direct' && random.int(4) === 0;
  const hasOptions = (dataplane === undefined || dataplane === 'haproxy') && random.int(3) === 0;
  const isSharing = sharing.includes(name) && !isOwn;
  const request = random.int(5) === 0 ? requestedOf(name) : undefined;
  return {
    ports: uniquePorts(random.int(3) === 0 ? [...ports, twin] : ports),
    dataplane,
    isLocal: random.int(4) === 0,
    hasAffinity: random.int(5) === 0,
    isWithoutNodePorts,
    ...(hasOptions ? { options: random.pick(options) } : {}),
    families: isSharing || isOwn ? ['IPv4'] : random.pick([['IPv4'], ['IPv4'], ['IPv4', 'IPv6']]),
    request: isOwn ? undefined : isSharing ? sharedAddress : request,
    endpoints: random.pick([nodeNames, nodeNames, nodeNames, ['n1'], ['n2', 'n3']]),
  };
}

/** An address that only this Service requests, and that no other one gets by itself. */
const requestedOf = (name: string): string => `192.0.2.${112 + serviceNames.indexOf(name as 's0')}`;

/** The API server refuses two of one number and protocol. */
function uniquePorts(ports: readonly Port[]): readonly Port[] {
  const seen = new Map(ports.map((each) => [`${each.port}/${each.protocol}`, each]));
  return [...seen.values()];
}

const randomPlane = (random: Random): Partial<Wish> =>
  random.pick<Partial<Wish>>([
    {},
    {},
    { dataplane: 'nat', options: {} },
    { dataplane: 'haproxy', isWithoutNodePorts: false },
  ]);

const change = (
  weight: number,
  apply: (wish: Wish, random: Random, name: string, isOwn: boolean) => Wish | undefined,
): Fault => ({
  weight,
  kind: 'soft',
  apply: async (world, random) => {
    const { cluster } = world;
    const names = [...cluster.wishes.keys()];
    if (names.length === 0) return;
    const name = random.pick(names);
    const wish = apply(cluster.wishes.get(name)!, random, name, world.isOwn);
    world.touch(name, 'its Service was changed');
    world.tell(`  ${name}: ${JSON.stringify(wish)}`);
    if (wish === undefined) cluster.remove(name);
    else cluster.set(name, wish);
  },
});

const hostile: Readonly<Record<string, string>>[] = [
  { 'furiwake.dev/addresses': '0.0.0.0' },
  { 'furiwake.dev/addresses': '192.0.2.2' },
  { 'furiwake.dev/addresses': '127.0.0.1' },
  { 'furiwake.dev/dataplane': 'direct\n    server x' },
  { 'furiwake.dev/proxy-protocol': 'v2' },
  { 'furiwake.dev/balance': 'leastconn', 'furiwake.dev/timeout-connect': '1s' },
  { 'furiwake.dev/backends': 'pods' },
  { 'furiwake.dev/connection-rate-limit': '${HOME}' },
];

/** Without the key: so a Service without options compares as such. */
function withoutOptions(wish: Wish): Wish {
  const { options: before, ...others } = wish;
  return before === undefined ? wish : others;
}

/** What users do with Services and nodes. */
export const userActions: Readonly<Record<string, Fault>> = {
  'Service created': {
    weight: 6,
    kind: 'soft',
    apply: async (world, random) => {
      const missing = serviceNames.filter((name) => !world.cluster.wishes.has(name));
      // One that is still being released cannot be created again.
      const free = missing.filter((name) => world.server.get('Service', `default/${name}`) === undefined);
      if (free.length === 0) return;
      const name = random.pick(free);
      const wish = randomWish(name, random, world.isOwn);
      world.touch(name, 'created');
      world.tell(`  ${name}: ${JSON.stringify(wish)}`);
      world.cluster.set(name, wish);
    },
  },
  'Service deleted': change(3, () => undefined),
  'Service rewritten': change(4, (_, random, name, isOwn) => randomWish(name, random, isOwn)),
  'ports changed': change(3, (wish, random, name, isOwn) => ({
    ...wish,
    ports: randomWish(name, random, isOwn).ports,
  })),
  'dataplane changed': change(4, (wish, random, _, isOwn) => ({
    ...withoutOptions(wish),
    isWithoutNodePorts: false,
    dataplane: random.pick(['haproxy', 'nat', isOwn ? undefined : 'direct', undefined] as const),
  })),
  'affinity changed': change(2, (wish) => ({ ...wish, hasAffinity: wish.hasAffinity !== true })),
  'options changed': change(3, (wish, random) =>
    wish.options === undefined
      ? { ...wish, isWithoutNodePorts: false, dataplane: 'haproxy', options: random.pick(options) }
      : withoutOptions(wish),
  ),
  'address requested': change(2, (wish, random, name, isOwn) =>
    isOwn || sharing.includes(name) ? wish : { ...wish, request: random.pick([requestedOf(name), undefined]) },
  ),
  'families changed': change(1, (wish, random, name, isOwn) =>
    isOwn || sharing.includes(name) ? wish : { ...wish, families: random.pick([['IPv4'], ['IPv4', 'IPv6']]) },
  ),
  'policy changed': change(2, (wish) => ({ ...wish, isLocal: wish.isLocal !== true })),
  'ranges changed': change(2, (wish, random) => {
    const { ranges, ...rest } = wish;
    return ranges === undefined ? { ...rest, ranges: [random.pick(['198.51.100.0/24', '10.0.0.0/8'])] } : rest;
  }),
  'type changed': change(2, (wish) => ({ ...wish, isClusterIp: wish.isClusterIp !== true })),
  'endpoints changed': change(4, (wish, random) => ({
    ...wish,
    endpoints: random.pick([nodeNames, ['n1'], ['n3'], []]),
  })),
  'hostile annotations': change(2, (wish, random) => {
    const { annotations, ...rest } = wish;
    return annotations === undefined ? { ...rest, annotations: random.pick(hostile) } : rest;
  }),
  'Service recreated': {
    weight: 3,
    kind: 'soft',
    apply: async (world, random) => {
      const { cluster, server } = world;
      const names = [...cluster.wishes.keys()];
      if (names.length === 0) return;
      const name = random.pick(names);
      const wish = random.pick([cluster.wishes.get(name)!, randomWish(name, random, world.isOwn)]);
      world.touch(name, 'recreated');
      world.tell(`  ${name}: ${JSON.stringify(wish)}`);
      cluster.remove(name);
      for (let i = 0; i < 200 && server.get('Service', `default/${name}`) !== undefined; i++) await pause(10, never);
      if (server.get('Service', `default/${name}`) === undefined) cluster.set(name, wish);
    },
  },
  'Service replaced by another': {
    weight: 3,
    kind: 'soft',
    apply: async (world, random) => {
      const { cluster, server } = world;
      const free = serviceNames.filter((name) => server.get('Service', `default/${name}`) === undefined);
      const names = [...cluster.wishes.keys()].filter((name) => !sharing.includes(name));
      if (free.length === 0 || names.length === 0 || world.isOwn) return;
      const [former, next] = [random.pick(names), random.pick(free)];
      if (sharing.includes(next)) return;
      const wish = cluster.wishes.get(former)!;
      const request = shownIps(server, `default/${former}`).find((ip) => !ip.includes(':'));
      const ports = wish.ports.map((each, index) => ({ ...each, nodePort: nodePortOf(next, index) }));
      for (const name of [former, next]) world.touch(name, 'replaced');
      world.tell(`  ${former} by ${next}, ${request}`);
      cluster.remove(former);
      cluster.set(next, { ...wish, ports, families: ['IPv4'], request, ...randomPlane(random) });
    },
  },
  'ports swapped': {
    weight: 2,
    kind: 'soft',
    apply: async (world) => {
      const [one, two] = sharing.map((name) => world.cluster.wishes.get(name));
      if (one === undefined || two === undefined) return;
      const swap = (from: readonly Port[], name: string): readonly Port[] =>
        from.map((each, index) => ({ ...each, nodePort: nodePortOf(name, index) }));
      for (const name of sharing) world.touch(name, 'its ports were swapped');
      const kindOf = ({ dataplane, options: of, isWithoutNodePorts }: Wish): Partial<Wish> =>
        of === undefined
          ? { dataplane, isWithoutNodePorts: isWithoutNodePorts === true }
          : { dataplane, isWithoutNodePorts: false, options: of };
      world.cluster.set('s1', { ...withoutOptions(one), ...kindOf(two), ports: swap(two.ports, 's1') });
      world.cluster.set('s2', { ...withoutOptions(two), ...kindOf(one), ports: swap(one.ports, 's2') });
    },
  },
  'node silent': {
    weight: 2,
    kind: 'box',
    apply: async ({ lab }, random) => {
      const node = random.pick(lab.nodes);
      await node.setSilent(true);
      return () => node.setSilent(false);
    },
  },
  'node excluded': {
    weight: 1,
    kind: 'packets',
    apply: async ({ lab, cluster }, random) => {
      const node = random.pick(lab.nodes);
      cluster.putNode(node, { 'node.kubernetes.io/exclude-from-external-load-balancers': '' });
      return async () => cluster.putNode(node);
    },
  },
  'node deleted': {
    weight: 1,
    kind: 'packets',
    apply: async ({ lab, cluster, server }, random) => {
      const node = random.pick(lab.nodes);
      if (server.get('Node', node.name) !== undefined) server.remove('Node', node.name);
      return async () => cluster.putNode(node);
    },
  },
  'node drained': {
    weight: 1,
    kind: 'packets',
    apply: async (world: World, random) => {
      const node = random.pick(world.lab.nodes).name;
      const ask = async (what: 'drain' | 'undrain'): Promise<void> => {
        for (const { furiwake } of world.hosts)
          await askAdmin(`${furiwake.stateDir}/admin.sock`, 'POST', `/${what}`, node, AbortSignal.timeout(3_000)).catch(
            () => undefined,
          );
      };
      await ask('drain');
      return () => ask('undrain');
    },
  },
  'Service drained': {
    weight: 2,
    kind: 'soft',
    apply: async (world: World, random) => {
      const names = [...world.cluster.wishes].filter(([, wish]) => wish.isWithoutNodePorts !== true);
      if (names.length === 0) return;
      const [name] = random.pick(names);
      world.touch(name, 'drained');
      world.tell(`  ${name}`);
      world.cluster.drained.add(name);
      const key = `default/${name}`;
      const ask = (what: 'drain' | 'undrain'): Promise<boolean> =>
        Promise.all(
          world.hosts.map(({ furiwake: { stateDir } }) =>
            askAdmin(`${stateDir}/admin.sock`, 'POST', `/${what}`, key, AbortSignal.timeout(3_000)),
          ),
        ).then(
          () => true,
          () => false,
        );
      await ask('drain');
      return async () => {
        world.touch(name, 'undrained');
        // Until furiwake runs again, or forever if the Service is gone.
        for (let i = 0; i < 30 && !(await ask('undrain')) && world.cluster.wishes.has(name); i++)
          await pause(500, never);
        world.cluster.drained.delete(name);
      };
    },
  },
  'node renumbered': {
    weight: 1,
    kind: 'packets',
    apply: async ({ lab, cluster }, random) => {
      const node = random.pick(lab.nodes);
      const [ip4, ip6] = [node.ip4.replace(/1(\d)$/, '2$1'), node.ip6.replace(/1(\d)$/, '2$1')];
      await quietly(node.exec('ip', 'address', 'add', `${ip4}/24`, 'dev', 'eth0'));
      await quietly(node.exec('ip', 'address', 'add', `${ip6}/64`, 'dev', 'eth0', 'nodad'));
      cluster.putNode({ ...node, ip4, ip6 });
      return async () => cluster.putNode(node);
    },
  },
};
