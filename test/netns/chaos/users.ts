import { askAdmin } from '../../../src/daemon/admin.ts';
import { nodePortOf, type Port, serviceNames, type Wish } from './cluster.ts';
import type { Fault, Random } from './fault.ts';
import type { World } from './world.ts';

/** Two Services request it. */
const sharedAddress = '192.0.2.110';
const sharing: readonly string[] = ['s1', 's2'];

const nodeNames = ['n1', 'n2', 'n3'];

/** `isOwn`: the address of the host is the only one, so that each Service has ports of its own. */
export function randomWish(name: string, random: Random, isOwn: boolean): Wish {
  const dataplane = random.pick(['haproxy', 'nat', undefined, undefined, isOwn ? 'nat' : 'direct'] as const);
  const count = 1 + random.int(2);
  // Those that share an address have ports of their own.
  const block = isOwn ? serviceNames.indexOf(name as 's0') : sharing.indexOf(name);
  const first = 80 + Math.max(0, block) * 10;
  const start = random.int(4);
  const ports = Array.from({ length: count }, (_, index): Port => {
    const protocol = dataplane === 'haproxy' || random.int(3) > 0 ? 'TCP' : 'UDP';
    return { port: first + index + random.int(2) * 2, protocol, nodePort: nodePortOf(name, start + index) };
  });
  return {
    ports,
    dataplane,
    isLocal: random.int(4) === 0,
    families: random.pick([['IPv4'], ['IPv4'], ['IPv4', 'IPv6']]),
    request: sharing.includes(name) && !isOwn ? sharedAddress : undefined,
    endpoints: random.pick([nodeNames, nodeNames, nodeNames, ['n1'], ['n2', 'n3']]),
    ...(sharing.includes(name) || isOwn ? { families: ['IPv4'] } : {}),
  };
}

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
  'dataplane changed': change(4, (wish, random, _, isOwn) => {
    const hasUdp = wish.ports.some(({ protocol }) => protocol === 'UDP');
    return {
      ...wish,
      dataplane: random.pick([hasUdp ? 'nat' : 'haproxy', 'nat', isOwn ? undefined : 'direct', undefined] as const),
    };
  }),
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
  'ports swapped': {
    weight: 2,
    kind: 'soft',
    apply: async (world) => {
      const [one, two] = sharing.map((name) => world.cluster.wishes.get(name));
      if (one === undefined || two === undefined) return;
      const swap = (from: readonly Port[], name: string): readonly Port[] =>
        from.map((each, index) => ({ ...each, nodePort: nodePortOf(name, index) }));
      for (const name of sharing) world.touch(name, 'its ports were swapped');
      world.cluster.set('s1', { ...one, ports: swap(two.ports, 's1'), dataplane: two.dataplane });
      world.cluster.set('s2', { ...two, ports: swap(one.ports, 's2'), dataplane: one.dataplane });
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
    kind: 'box',
    apply: async ({ lab, cluster }, random) => {
      const node = random.pick(lab.nodes);
      cluster.putNode(node, { 'node.kubernetes.io/exclude-from-external-load-balancers': '' });
      return async () => cluster.putNode(node);
    },
  },
  'node deleted': {
    weight: 1,
    kind: 'box',
    apply: async ({ lab, cluster, server }, random) => {
      const node = random.pick(lab.nodes);
      if (server.get('Node', node.name) !== undefined) server.remove('Node', node.name);
      return async () => cluster.putNode(node);
    },
  },
  'node drained': {
    weight: 1,
    kind: 'box',
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
};
