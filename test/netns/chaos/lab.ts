import { createServer } from 'node:net';
import { connect } from 'node:net';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Machine, makeMachines, type Node, setUp } from '../net-lab.ts';
import type { SimApiServer } from '../../sim/apiserver.ts';

/** A load-balancer host of the lab. */
export type Box = Machine & {
  readonly name: string;
  /** Its own addresses now. */
  ip4: string;
  ip6: string;
  /** Name of its interface on the LAN. */
  link: string;
  /** Lines of `ip`. */
  readonly routesToPods: readonly string[];
  readonly folder: string;
  /** What furiwake and HAProxy keep below /run. */
  readonly runFolder: string;
};

/**
 * One LAN behind a router, with one or two load-balancer hosts; the API server answers at the address of the router:
 *
 *   client 198.51.100.2 ── router 198.51.100.1
 *          2001:db8:1::2          192.0.2.1, 2001:db8::1 ── LAN ── lb1 192.0.2.2, lb2 192.0.2.3, n1 192.0.2.11 …
 */
export type ChaosLab = AsyncDisposable & {
  readonly client: Machine;
  readonly router: Machine;
  readonly boxes: readonly Box[];
  readonly nodes: readonly Node[];
  readonly folder: string;
  /** Where the API server answers inside of the lab. */
  readonly apiUrl: string;
};

/** The addresses that Services get. */
export const pool = '192.0.2.100-192.0.2.119,2001:db8::100-2001:db8::10f';
export const isOfPool = (address: string): boolean => /^(192\.0\.2\.1[01]\d|2001:db8::10.)$/.test(address);

const apiPort = 6_443;
const [router4, router6] = ['192.0.2.1', '2001:db8::1'];

export async function startChaosLab(
  server: Pick<SimApiServer, 'url'>,
  { boxes: boxCount, nodes: nodeCount }: { readonly boxes: number; readonly nodes: number },
): Promise<ChaosLab> {
  const nodeNames = Array.from({ length: nodeCount }, (_, index) => `n${index + 1}`);
  const boxNames = Array.from({ length: boxCount }, (_, index) => `lb${index + 1}`);
  const machines = await makeMachines(['r', 'c', ...boxNames, ...nodeNames]);
  try {
    const folder = await mkdtemp(path.join(tmpdir(), `${machines.prefix}-`));
    machines.defer(() => rm(folder, { recursive: true, force: true }));
    const [router, client] = [machines.get('r'), machines.get('c')];
    const nodes = nodeNames.map((name, index): Node => {
      const [ip4, ip6] = [`192.0.2.${11 + index}`, `2001:db8::${11 + index}`];
      return { ...machines.get(name), name, ip4, ip6 };
    });
    const routesToPods = nodes.flatMap(({ ip4, ip6 }, index) => [
      `route replace ${podOf(index, 'IPv4')}/32 via ${ip4}`,
      `route replace ${podOf(index, 'IPv6')}/128 via ${ip6}`,
    ]);
    const boxes = await Promise.all(
      boxNames.map(async (name, index): Promise<Box> => {
        const machine = machines.get(name);
        const { ino } = await stat(`/run/netns/${machine.namespace}`);
        const runFolder = `/run/furiwake/net-${ino}`;
        machines.defer(() => rm(runFolder, { recursive: true, force: true }));
        const [ip4, ip6] = [`192.0.2.${2 + index}`, `2001:db8::${2 + index}`];
        return { ...machine, name, ip4, ip6, link: 'eth0', routesToPods, folder: `${folder}/${name}`, runFolder };
      }),
    );
    const atOnce = 'net.ipv6.conf.default.accept_dad=0';
    const forwarding = ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'];
    for (const machine of [client, ...boxes]) await machine.exec('sysctl', '-qw', atOnce);
    for (const machine of [router, ...nodes]) await machine.exec('sysctl', '-qw', atOnce, ...forwarding);
    const onLan = [...boxes, ...nodes];
    await router.ip(
      'link add lan type bridge',
      ...setUp('lan', `${router4}/24`, `${router6}/64`),
      `link add wan type veth peer eth0 netns ${client.namespace}`,
      ...setUp('wan', '198.51.100.1/24', '2001:db8:1::1/64'),
      ...onLan.flatMap(({ name, namespace }) => [
        `link add ${lanPortOf({ name })} type veth peer eth0 netns ${namespace}`,
        `link set ${lanPortOf({ name })} master lan up`,
      ]),
    );
    await client.ip(
      ...setUp('eth0', '198.51.100.2/24', '2001:db8:1::2/64'),
      'route add 0.0.0.0/0 via 198.51.100.1',
      'route add ::/0 via 2001:db8:1::1',
    );
    for (const { ip4, ip6, ...machine } of onLan)
      await machine.ip(...setUp('eth0', `${ip4}/24`, `${ip6}/64`), ...defaultRoutes);
    for (const [index, node] of nodes.entries())
      await node.ip(`address add ${podOf(index, 'IPv4')}/32 dev lo`, `address add ${podOf(index, 'IPv6')}/128 dev lo`);
    for (const each of boxes) await each.ip(...each.routesToPods);
    machines.defer(await relay(server, router, `${folder}/api.sock`));
    return {
      client,
      router,
      boxes,
      nodes,
      folder,
      apiUrl: `http://${router4}:${apiPort}`,
      [Symbol.asyncDispose]: () => machines[Symbol.asyncDispose](),
    };
  } catch (error) {
    await machines[Symbol.asyncDispose]();
    throw error;
  }
}

const defaultRoutes: readonly string[] = [
  `route replace 0.0.0.0/0 via ${router4}`,
  `route replace ::/0 via ${router6}`,
];

/** What the configuration of the operating system restores when the link of the host comes up: also those to Pods. */
export const routesOf = ({ routesToPods }: Pick<Box, 'routesToPods'>): readonly string[] => [
  ...defaultRoutes,
  ...routesToPods,
];

/** The other end of the link of a machine, on the router. */
export const lanPortOf = ({ name }: { readonly name: string }): string => `lan-${name}`;

/** The address of the Pods on the node with this index. */
export const podOf = (node: number, family: 'IPv4' | 'IPv6'): string =>
  family === 'IPv4' ? `10.244.${node}.9` : `fd44::${node}:9`;

/** Connections to the API server's address in the lab reach the simulated one through a socket in the file system. */
async function relay(
  { url }: Pick<SimApiServer, 'url'>,
  router: Machine,
  socketPath: string,
): Promise<() => Promise<void>> {
  const { port } = new URL(url);
  const near = createServer((from) => {
    const to = connect(Number(port), '127.0.0.1');
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => {
    near.listen(socketPath, resolve);
  });
  const program = `
    const { createServer, connect } = require('node:net');
    createServer((from) => {
      const to = connect(${JSON.stringify(socketPath)});
      for (const [one, other] of [[from, to], [to, from]]) {
        one.on('error', () => other.destroy()).on('close', () => other.destroy()).pipe(other);
      }
    }).listen(${apiPort}, '${router4}', () => console.log('listening'));
    process.stdin.on('end', () => process.exit(0)).resume();`;
  const child = spawn('nsenter', [`--net=/run/netns/${router.namespace}`, process.execPath, '-e', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => {
    child.stdout.once('data', resolve);
  });
  const ended = new Promise((resolve) => {
    child.once('close', resolve);
  });
  return async () => {
    child.stdin.end();
    await ended;
    near.close();
  };
}
