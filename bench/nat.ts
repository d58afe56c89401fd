import { until } from '../lab/machine/until.ts';
import { natListener, node, tableOf } from '../test/make/table.ts';
import { type NetLab, startNetLab } from '../test/netns/net-lab.ts';
import { recordLog, recordMetrics } from '../test/sim/observers.ts';
import { makeNat } from '../src/dataplane/nat/nat.ts';
import { parseCidr } from '../src/core/ip/range.ts';
import { systemClock } from '../src/main/node/clock.ts';
import type { Bench, Figure } from './bench.ts';
import { bulk, serveBulk } from './bulk.ts';
import { serveHttp } from './http-answers.ts';
import { median } from './statistics.ts';
import { ensureWrk, wrk } from './wrk.ts';

const repetitions = 5;
const listeners = 10_000;
const vip = '10.50.0.9';
/** Of the VIP; the nodes serve 30,000 more. */
const ports = { http: 80, download: 5_201, upload: 5_202 } as const;
const nodePortOf = (port: number): number => port + 30_000;

/** What `nat` must reach, as a share of the wire. */
const targets: Readonly<Record<string, number>> = {
  'keep-alive requests': 0.75,
  'new connections': 0.6,
  'bulk to the client': 0.7,
  'bulk to the node': 0.7,
};

/**
 * The dataplane `nat` against the path without it, in turns in one run. Both go from a client over a host to nodes: one host
 * translates, with 10,000 listeners of which the ones that are measured admit a source range and count; the other one, of a lab of its
 * own, only routes, without connection tracking.
 */
export const nat: Bench = {
  name: 'nat',
  title: `nat against the wire: wrk, bulk, ${listeners} listeners, medians of ${repetitions}`,
  run: async ({ progress, signal }) => {
    await ensureWrk(progress, signal);
    using step = progress.step('Making the listeners');
    await using translating = await startNetLab({ nodes: 2 });
    await using routing = await startNetLab({ nodes: 2 });
    await using _servers = await serveOn(translating, signal);
    await using _others = await serveOn(routing, signal);
    await using _nat = await startNat(translating, signal);
    await startRouting(routing, signal);
    const measured = new Map<string, { readonly wire: number[]; readonly nat: number[] }>();
    const measure = async (
      what: string,
      port: number,
      one: (client: NetLab['client'], address: string) => Promise<number>,
    ): Promise<void> => {
      const figures = measured.get(what) ?? { wire: [], nat: [] };
      measured.set(what, figures);
      const [first] = routing.nodes;
      const wire = async (): Promise<unknown> =>
        figures.wire.push(await one(routing.client, `${first?.ip4}:${nodePortOf(port)}`));
      const translated = async (): Promise<unknown> =>
        figures.nat.push(await one(translating.client, `${vip}:${port}`));
      for (const way of figures.wire.length % 2 === 1 ? [translated, wire] : [wire, translated]) await way();
    };
    for (let round = 1; round <= repetitions; round++) {
      step.update(`round ${round} of ${repetitions}`);
      await measure('keep-alive requests', ports.http, (client, address) => wrk(client, address, true, signal));
      await measure('new connections', ports.http, (client, address) => wrk(client, address, false, signal));
      await measure('bulk to the client', ports.download, (client, address) => bulk(client, address, 'down', signal));
      await measure('bulk to the node', ports.upload, (client, address) => bulk(client, address, 'up', signal));
    }
    step.done();
    return [...measured].flatMap(([what, { wire, nat: translated }]): readonly Figure[] => {
      const unit = what.startsWith('bulk') ? 'Gbit/s' : '1/s';
      const ratios = translated.map((value, index) => value / (wire[index] ?? 1));
      return [
        { what: `${what}, wire`, value: median(wire), unit },
        { what: `${what}, nat`, value: median(translated), unit },
        {
          what: `${what}, ratio to the wire`,
          value: median(ratios),
          unit: '×',
          target: { atLeast: targets[what] ?? 0 },
        },
      ];
    });
  },
};

/** HTTP and bulk both ways, at the nodePorts. */
async function serveOn({ client, balancer, nodes }: NetLab, signal: AbortSignal): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  stack.use(await serveHttp(nodes, [nodePortOf(ports.http)], signal));
  for (const machine of nodes) {
    stack.use(await serveBulk(machine, nodePortOf(ports.download), 'down', signal));
    stack.use(await serveBulk(machine, nodePortOf(ports.upload), 'up', signal));
  }
  // In reality there are many clients; a single one has used all its ports after 28,000 connections.
  for (const machine of [client, balancer])
    await machine.exec('sysctl', '-qw', 'net.ipv4.tcp_tw_reuse=1', 'net.ipv4.ip_local_port_range=1024 65535');
  return stack;
}

async function startNat({ client, balancer, nodes }: NetLab, signal: AbortSignal): Promise<AsyncDisposable> {
  const stop = new AbortController();
  const adapter = makeNat({
    exec: balancer.execPort,
    health: { verdicts: () => new Map(), subscribe: () => () => undefined },
    silentSince: () => undefined,
    silenceMs: 15_000,
    own: () => new Map(),
    links: () => '',
    clock: systemClock,
    log: recordLog(),
    metrics: recordMetrics(),
    lifetime: stop.signal,
  });
  const lan = parseCidr('10.10.0.0/24');
  const measured = Object.values(ports).map((port) =>
    natListener(vip, port, nodePortOf(port), { protocol: 'TCP', sourceRanges: lan && [lan] }),
  );
  const others = Array.from({ length: listeners - measured.length }, (_, index) =>
    natListener(`10.50.1.${1 + (index % 100)}`, 1_000 + Math.floor(index / 100), 30_000 + (index % 2_000)),
  );
  const table = tableOf(
    [...measured, ...others],
    nodes.map(({ name, ip4 }) => node(name, ip4)),
  );
  const refused = await adapter.apply(table, signal);
  if (refused.size > 0) throw new Error(`nft refused ${refused.size} listeners: ${[...refused.values()][0]}`);
  await untilServed(client, vip, ports.http, signal);
  return {
    [Symbol.asyncDispose]: () => {
      stop.abort();
      return Promise.resolve();
    },
  };
}

/** The client reaches the nodes, and they the client, over a host that only forwards. */
async function startRouting({ client, nodes }: NetLab, signal: AbortSignal): Promise<void> {
  await client.exec('ip', 'route', 'add', '10.20.0.0/24', 'via', '10.10.0.1');
  for (const machine of nodes) await machine.exec('ip', 'route', 'add', 'default', 'via', '10.20.0.1');
  await untilServed(client, nodes[0]?.ip4 ?? '', nodePortOf(ports.http), signal);
}

async function untilServed(
  client: NetLab['client'],
  address: string,
  port: number,
  signal: AbortSignal,
): Promise<void> {
  const isAnswered = async (): Promise<boolean> => (await client.ask({ do: 'fetch', address, port })).status === 200;
  await until(`${address}:${port} to answer`, isAnswered, { signal, everyMs: 50 });
}
