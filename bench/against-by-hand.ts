import { writeFile } from 'node:fs/promises';
import { until } from '../lab/machine/until.ts';
import path from 'node:path';
import type { Machine } from '../test/netns/net-lab.ts';
import type { Context, Figure } from './bench.ts';
import { bulk, serveBulk } from './bulk.ts';
import { serveHttp } from './http-answers.ts';
import type { Features } from './hosts/sim-objects.ts';
import { type Site, startSite } from './site.ts';
import { median } from './statistics.ts';
import { ensureWrk, wrk } from './wrk.ts';

export const repetitions = 5;
const nodePort = 30_000;
/** kube-proxy's. */
const healthPort = 10_256;
/** The first port of a hand-written HAProxy. */
export const byHandPort = 8_080;
/** The beginning of its configuration. */
export const byHandDefaults = `global
    maxconn 8000
defaults
    mode tcp
    timeout connect 6s
    timeout client 120s
    timeout server 120s
`;
const manyPorts = ['net.ipv4.tcp_tw_reuse=1', 'net.ipv4.ip_local_port_range=1024 65535'];
const bulkNodePort = nodePort + 1;
const bulkByHandPort = 8_081;

/** Each is the least ratio to the hand-written HAProxy. */
type LeastRatios = Readonly<Record<'keep-alive requests' | 'new connections' | 'bulk', number>>;

export type Rivals = {
  /** Of furiwake. */
  readonly services: number;
  readonly features?: Features;
  /** Lines of each `listen` section of the hand-written configuration. */
  readonly lines?: readonly string[];
  /** After the address and port of each of its servers. */
  readonly server?: string;
  /** Other sections. */
  readonly sections?: string;
  readonly targets: LeastRatios;
};

/**
 * furiwake and a hand-written HAProxy (a `listen` for each Service with all nodes), in turns in one run. Both are
 * daemons with separate sessions: the kernel divides processor time between sessions (sched_autogroup), and a HAProxy
 * in wrk's session is faster by a third. The nodes answer with a HAProxy, which costs less than any web server; for
 * bulk a program writes as fast as the client reads. Client, load balancer and nodes share the machine's cores: compare
 * only ratios.
 */
export async function compareByHand({ bundle, progress, signal }: Context, rivals: Rivals): Promise<readonly Figure[]> {
  await ensureWrk(progress, signal);
  using step = progress.step('Making the Services');
  const nodes = ['10.20.0.11', '10.20.0.12'];
  const { services, features = {} } = rivals;
  await using site = await startSite({ services, features, nodes, nodePort, machines: nodes.length, bundle, signal });
  await using _backends = await startBackends(site, signal);
  await using _furiwake = site.startFuriwake();
  await site.ask({ do: 'awaitAddresses' });
  await using _byHand = await startByHand(site, { ...rivals, nodes }, signal);
  const { client } = site.lab;
  // In reality there are many clients; a single one has used all its ports after 28,000 connections, and then waits
  // for them.
  for (const machine of [site.lab.client, site.lab.balancer]) await machine.exec('sysctl', '-w', ...manyPorts);
  const measured = new Map<keyof LeastRatios, { furiwake: number[]; byHand: number[] }>();
  const measure = async (
    what: keyof LeastRatios,
    one: (address: string) => Promise<number>,
    places: Places,
  ): Promise<void> => {
    const { furiwake, byHand } = measured.get(what) ?? { furiwake: [], byHand: [] };
    measured.set(what, { furiwake, byHand });
    // In alternating order: the second one finds the nodes' sockets of the first in TIME_WAIT.
    const isFirst = furiwake.length % 2 === 0;
    if (isFirst) byHand.push(await one(places.byHand));
    furiwake.push(await one(places.furiwake));
    if (!isFirst) byHand.push(await one(places.byHand));
  };
  await until('HAProxy by hand to listen', () => isAnswered(client, '10.10.0.1', byHandPort), { signal, everyMs: 50 });
  const vip = await addressOf(site, 0);
  await until('furiwake to serve', () => isAnswered(client, vip, 80), { signal, everyMs: 50 });
  const http = { furiwake: `${vip}:80`, byHand: `10.10.0.1:${byHandPort}` };
  const downloads = { furiwake: `${await addressOf(site, 1)}:80`, byHand: `10.10.0.1:${bulkByHandPort}` };
  for (let round = 1; round <= repetitions; round++) {
    step.update(`round ${round} of ${repetitions}`);
    await measure('keep-alive requests', (address) => wrk(client, address, true, signal), http);
    await measure('new connections', (address) => wrk(client, address, false, signal), http);
    await measure('bulk', (address) => bulk(client, address, 'down', signal), downloads);
  }
  step.done();
  return [...measured].flatMap(([what, { furiwake, byHand }]): readonly Figure[] => {
    const unit = what === 'bulk' ? 'Gbit/s' : '1/s';
    // Each is paired with the next one in time: the median of the ratios is more stable than the ratio of the medians.
    const ratio = median(furiwake.map((value, index) => value / (byHand[index] ?? 1)));
    return [
      { what: `${what}, by hand`, value: median(byHand), unit },
      { what: `${what}, furiwake`, value: median(furiwake), unit },
      { what: `${what}, ratio`, value: ratio, unit: '×', target: { atLeast: rivals.targets[what] } },
    ];
  });
}

type Places = { readonly furiwake: string; readonly byHand: string };

/** On each node: an answer to HTTP on the first Service's nodePort and to health checks, and bulk on the second's. */
async function startBackends({ lab: { nodes } }: Site, signal: AbortSignal): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  stack.use(await serveHttp(nodes, [nodePort, healthPort], signal));
  for (const node of nodes) stack.use(await serveBulk(node, bulkNodePort, 'down', signal));
  return stack;
}

/** The hand-written configuration: a `listen` section for each Service, on the load-balancer host. */
async function startByHand(
  { lab }: Site,
  { nodes, lines = [], server = '', sections = '' }: Rivals & { readonly nodes: readonly string[] },
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const listen = (name: string, port: number, backend: number): string => {
    const servers = nodes.map((ip, index) => `server n${index} ${ip}:${backend} ${server}`.trimEnd());
    return [`listen ${name}`, `bind 10.10.0.1:${port}`, ...lines, ...servers].join('\n    ');
  };
  const config = path.join(lab.folder, 'by-hand.cfg');
  await writeFile(
    config,
    `${byHandDefaults}${sections}
${listen('web', byHandPort, nodePort)}
${listen('bulk', bulkByHandPort, bulkNodePort)}
`,
  );
  return lab.balancer.execPort.spawn('setsid', ['haproxy', '-db', '-f', config], signal);
}

async function isAnswered(client: Machine, address: string, port: number): Promise<boolean> {
  return (await client.ask({ do: 'fetch', address, port })).status === 200;
}

async function addressOf(site: Site, index: number): Promise<string> {
  const { address } = await site.ask({ do: 'findAddress', service: `service-${index}` });
  if (address === undefined) throw new Error(`service-${index} has no address`);
  return address;
}
