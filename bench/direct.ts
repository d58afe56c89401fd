import { allAnswer } from '../test/make/answering-nodes.ts';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { until } from '../lab/machine/until.ts';
import { sceneGate } from '../test/make/scene-gate.ts';
import { directListener, node, tableOf } from '../test/make/table.ts';
import { type DirectLab, startDirectLab } from '../test/netns/direct-lab.ts';
import { recordLog, recordMetrics } from '../test/sim/observers.ts';
import { parseCidr } from '../src/core/ip/range.ts';
import { makeDirect } from '../src/dataplane/direct/direct.ts';
import { slotCount } from '../src/dataplane/direct/table/rule-parts.ts';
import { systemClock } from '../src/main/node/clock.ts';
import { byHandDefaults, byHandPort } from './against-by-hand.ts';
import type { Bench, Figure } from './bench.ts';
import { bulk, serveBulk } from './bulk.ts';
import { serveHttp } from './http-answers.ts';
import { median } from './statistics.ts';
import { ensureWrk, wrk } from './wrk.ts';

const repetitions = 5;
const listeners = 10_000;
/** The client itself routes 203.0.113.200 to the nodes, by flow. */
export const vips = { direct: '203.0.113.10', hashed: '203.0.113.11', wire: '203.0.113.200' } as const;
const ports = { http: 80, download: 5_201, upload: 5_202, udp: 5_300 } as const;
const ways = ['wire', 'direct', 'hashed', 'haproxy'] as const;
type Way = (typeof ways)[number];
const withoutHaproxy = ways.filter((way) => way !== 'haproxy');

/** What `direct` must reach, as a share of the wire, and as a multiple of HAProxy. */
const targets: Readonly<Record<string, { readonly wire: number; readonly haproxy?: number }>> = {
  'keep-alive requests': { wire: 0.8, haproxy: 1.6 },
  'new connections': { wire: 0.8, haproxy: 1.5 },
  'bulk to the client': { wire: 0.9, haproxy: 1.9 },
  'bulk to the node': { wire: 0.9, haproxy: 1.9 },
  'UDP, same flows': { wire: 0.65 },
  'UDP, a flow per packet': { wire: 0.7 },
};

/**
 * The dataplane `direct` against the path without a balancer and against a hand-written HAProxy, in turns in one run, on one
 * LAN segment, which filters nothing. All paths lead to both nodes: one server less is one process less on the two cores. The nodes
 * have the VIPs on their loopback interface, so that no destination NAT takes part; the table has 10,000 listeners, the ones that are
 * measured admit a source range. Beside it a table that only hashes a packet to a slot and sends it
 * on: what a table of nftables can reach on this machine.
 */
export const direct: Bench = {
  name: 'direct',
  title: `direct against the wire and HAProxy: wrk, bulk, UDP, ${listeners} listeners, medians of ${repetitions}`,
  run: async ({ progress, signal }) => {
    await ensureWrk(progress, signal);
    using step = progress.step('Making the listeners');
    await using lab = await startDirectLab({ nodes: 2 });
    await using _servers = await startServers(lab, signal);
    await using _direct = await startDirect(lab, signal);
    await using _haproxy = await startHaproxy(lab, signal);
    const client = lab.router;
    const measured = new Map<string, Record<Way, number[]>>();
    const addressOn = (way: Way, port: number): string =>
      way === 'haproxy' ? `192.0.2.2:${byHandPort + port}` : `${vips[way]}:${port}`;
    const measure = async (what: string, chosen: readonly Way[], one: (way: Way) => Promise<number>): Promise<void> => {
      const figures = measured.get(what) ?? { wire: [], direct: [], hashed: [], haproxy: [] };
      measured.set(what, figures);
      const isOdd = figures.wire.length % 2 === 1;
      for (const way of isOdd ? chosen.toReversed() : chosen) {
        await using _hashing = way === 'hashed' ? await loadHashing(lab) : undefined;
        figures[way].push(await one(way));
      }
    };
    const udp = async (way: Way, kind: 'same' | 'new'): Promise<number> => {
      const args = [udpProgram, kind, way === 'haproxy' ? '' : vips[way], String(ports.udp), '3'];
      return Number((await client.execPort.run('perl', args, { signal, timeoutMs: 30_000 })).stdout) / 3;
    };
    for (let round = 1; round <= repetitions; round++) {
      step.update(`round ${round} of ${repetitions}`);
      await measure('keep-alive requests', ways, (way) => wrk(client, addressOn(way, ports.http), true, signal));
      await measure('new connections', ways, (way) => wrk(client, addressOn(way, ports.http), false, signal));
      await measure('bulk to the client', ways, (way) => bulk(client, addressOn(way, ports.download), 'down', signal));
      await measure('bulk to the node', ways, (way) => bulk(client, addressOn(way, ports.upload), 'up', signal));
      await measure('UDP, same flows', withoutHaproxy, (way) => udp(way, 'same'));
      await measure('UDP, a flow per packet', withoutHaproxy, (way) => udp(way, 'new'));
    }
    step.done();
    return [...measured].flatMap(([what, figures]) => figuresOf(what, figures));
  },
};

const udpProgram = path.join(import.meta.dirname, 'hosts', 'udp.pl');

/** The median of the ratios of consecutive runs is more stable than the ratio of the medians. */
function figuresOf(what: string, figures: Readonly<Record<Way, readonly number[]>>): readonly Figure[] {
  const unit = what.startsWith('bulk') ? 'Gbit/s' : '1/s';
  const target = targets[what];
  const ratio = (of: Way, to: Way): number =>
    median(figures[of].map((value, index) => value / (figures[to][index] ?? 1)));
  const rows: Figure[] = [
    { what: `${what}, wire`, value: median(figures.wire), unit },
    { what: `${what}, direct`, value: median(figures.direct), unit },
    {
      what: `${what}, ratio to the wire`,
      value: ratio('direct', 'wire'),
      unit: '×',
      target: { atLeast: target?.wire ?? 0 },
    },
    { what: `${what}, only hashed, ratio to the wire`, value: ratio('hashed', 'wire'), unit: '×' },
  ];
  if (target?.haproxy !== undefined)
    rows.push({
      what: `${what}, ratio to HAProxy`,
      value: ratio('direct', 'haproxy'),
      unit: '×',
      target: { atLeast: target.haproxy },
    });
  return rows;
}

/** On each node: HTTP, bulk both ways, UDP, on both VIPs. */
async function startServers(lab: DirectLab, signal: AbortSignal): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  stack.use(await serveHttp(lab.nodes, [ports.http], signal));
  for (const machine of lab.nodes) {
    for (const vip of Object.values(vips)) await machine.exec('ip', 'address', 'add', `${vip}/32`, 'dev', 'lo');
    stack.use(await serveBulk(machine, ports.download, 'down', signal));
    stack.use(await serveBulk(machine, ports.upload, 'up', signal));
    for (const vip of Object.values(vips)) {
      const echo = stack.use(machine.execPort.spawn('perl', [udpProgram, 'serve', vip, String(ports.udp)], signal));
      for await (const line of echo.lines) if (line === 'serving') break;
    }
  }
  const nextHops = lab.nodes.flatMap(({ ip4 }) => ['nexthop', 'via', ip4]);
  await lab.router.exec('ip', 'route', 'add', vips.wire, ...nextHops);
  // The kernel chooses the next hop by addresses and ports. br_netfilter, which Kubernetes wants on nodes, has no part in a switch.
  const onRouter = ['net.ipv4.fib_multipath_hash_policy=1', 'net.bridge.bridge-nf-call-iptables=0'];
  await lab.router.exec('sysctl', '-qw', ...onRouter);
  // In reality there are many clients; a single one has used all its ports after 28,000 connections.
  for (const machine of [lab.router, lab.balancer])
    await machine.exec('sysctl', '-qw', 'net.ipv4.tcp_tw_reuse=1', 'net.ipv4.ip_local_port_range=1024 65535');
  return stack;
}

/** The adapter with a table of 10,000 listeners, on a host that forwards nothing itself. */
export async function startDirect(lab: DirectLab, signal: AbortSignal): Promise<AsyncDisposable> {
  const stop = new AbortController();
  const adapter = makeDirect({
    exec: lab.balancer.execPort,
    host: { clientsOf: async () => new Map() },
    health: { verdicts: () => new Map(), subscribe: () => () => undefined },
    silentSince: () => undefined,
    silenceMs: 15_000,
    probe: async () => new Map(),
    idleSeconds: 10_800,
    gate: sceneGate(),
    linkOf: () => ({ name: 'eth0', index: 2, mac: '02:00:00:00:00:01', mtu: 1_500 }),
    answering: allAnswer,
    own: () => new Map(),
    primary: () => [],
    serviceCidrs: () => [],
    clock: systemClock,
    log: recordLog(),
    metrics: recordMetrics(),
    lifetime: stop.signal,
  });
  for (const { ip4 } of lab.nodes) await lab.balancer.exec('ping', '-c', '1', '-W', '2', ip4); // resolves its MAC
  const lan = parseCidr('192.0.2.0/24');
  const more = { isPublished: true, sourceRanges: lan && [lan] };
  const measured = [
    ...[ports.http, ports.download, ports.upload].map((port) =>
      directListener(vips.direct, port, { ...more, protocol: 'TCP' }),
    ),
    directListener(vips.direct, ports.udp, more),
  ];
  const others = Array.from({ length: listeners - measured.length }, (_, index) =>
    directListener(`203.0.113.${20 + (index % 100)}`, 1_000 + Math.floor(index / 100), { isPublished: true }),
  );
  const nodes = lab.nodes.map(({ name, ip4 }) => node(name, ip4));
  const refused = await adapter.apply(tableOf([...measured, ...others], nodes), signal);
  if (refused.size > 0) throw new Error(`nft refused ${refused.size} listeners: ${[...refused.values()][0]}`);
  return {
    [Symbol.asyncDispose]: () => {
      stop.abort();
      return Promise.resolve();
    },
  };
}

/** A table before that of `direct`, for `vips.hashed`: as many slots, and nothing that `direct` does beside choosing a node. */
async function loadHashing({ balancer, nodes }: DirectLab): Promise<AsyncDisposable> {
  const slots = Array.from({ length: slotCount }, (_, slot) => `${slot} : ${1 + (slot % nodes.length)}`);
  const gateways = nodes.map(({ ip4 }, index) => `${1 + index} : ${ip4}`);
  await balancer.nft(`table netdev bench {
  map slots { type mark : mark; elements = { ${slots.join(', ')} }; }
  map gateways { type mark : ipv4_addr; elements = { ${gateways.join(', ')} }; }
  chain hash {
    meta mark set jhash ip saddr . ip daddr . th sport . th dport . meta l4proto mod ${slotCount} seed 1
    meta mark set meta mark map @slots
    fwd ip to meta mark map @gateways device "eth0"
  }
  chain arrive {
    type filter hook ingress device "eth0" priority -10;
    ip daddr ${vips.hashed} goto hash
  }
}`);
  return { [Symbol.asyncDispose]: () => balancer.nft('delete table netdev bench') };
}

/** The hand-written configuration on the balancer: a `listen` section for each port. */
async function startHaproxy(lab: DirectLab, signal: AbortSignal): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(tmpdir(), 'furiwake-bench-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const config = path.join(folder, 'haproxy.cfg');
  const listen = (port: number): string =>
    `listen port${port}
    bind 192.0.2.2:${byHandPort + port}
${lab.nodes.map(({ name, ip4 }) => `    server ${name} ${ip4}:${port}\n`).join('')}`;
  await writeFile(config, `${byHandDefaults}${[ports.http, ports.download, ports.upload].map(listen).join('')}`);
  stack.use(lab.balancer.execPort.spawn('setsid', ['haproxy', '-db', '-f', config], signal));
  const isAnswered = async (): Promise<boolean> =>
    (await lab.router.ask({ do: 'fetch', address: '192.0.2.2', port: byHandPort + ports.http })).status === 200;
  await until('HAProxy by hand to listen', isAnswered, { signal, everyMs: 50 });
  return stack;
}
