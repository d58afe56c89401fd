import { probeBy } from '../test/make/probe-by.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { until } from '../lab/machine/until.ts';
import { allAnswer } from '../test/make/answering-nodes.ts';
import { sceneGate } from '../test/make/scene-gate.ts';
import { directListener, listener, natListener, node, tableOf } from '../test/make/table.ts';
import { type DirectLab, startDirectLab } from '../test/netns/direct-lab.ts';
import { flood, floodSources } from '../test/netns/flood.ts';
import { recordLog, recordMetrics } from '../test/sim/observers.ts';
import { serviceKey } from '../src/core/model/names.ts';
import type { Listener, TrafficTable } from '../src/core/traffic/table.ts';
import { makeDirect } from '../src/dataplane/direct/direct.ts';
import { listenPort } from '../src/dataplane/haproxy/config/config.ts';
import { makeHaproxy } from '../src/dataplane/haproxy/haproxy.ts';
import { makeNat } from '../src/dataplane/nat/nat.ts';
import { makeHealth } from '../src/health/health.ts';
import { systemClock } from '../src/main/node/clock.ts';
import { systemFiles } from '../src/main/node/files.ts';
import type { Bench, Figure } from './bench.ts';
import { serveHttp } from './http-answers.ts';
import { median } from './statistics.ts';

const repetitions = 3;
const measuredMs = 1_500;
const slowClients = 2_000;
const openingMs = 2_000;
const ways = ['haproxy', 'nat', 'direct'] as const;
type Way = (typeof ways)[number];
const vips: Readonly<Record<Way, string>> = { haproxy: '203.0.113.11', nat: '203.0.113.12', direct: '203.0.113.13' };
/** `other` is measured while `attacked` is. The nodes serve both at these ports. */
const ports = { other: 8_080, attacked: 8_053 } as const;
const attacks = ['SYN flood', 'UDP flood', 'slow clients'] as const;
type Attack = (typeof attacks)[number];

/**
 * The latency of one Service while another one on the same host is attacked, against the same in quiet just before. The attackers share the
 * processors with the host.
 */
export const attack: Bench = {
  name: 'attack',
  title: `latency of a Service while another one is attacked, medians of ${repetitions}`,
  run: async ({ progress, signal }) => {
    using step = progress.step('Making the listeners');
    await using stack = new AsyncDisposableStack();
    const lab = stack.use(await startDirectLab({ nodes: 2 }));
    stack.use(await serve(lab, signal));
    await startWays(lab, stack, signal);
    const ratios = new Map<string, number[]>();
    let failed = 0;
    const measure = async (way: Way): Promise<number> => {
      const script = path.join(import.meta.dirname, 'hosts', 'latency.ts');
      const args = [script, vips[way], String(ports.other), String(measuredMs)];
      const found = JSON.parse(await lab.client.exec(process.execPath, ...args)) as {
        medianMs: number;
        failed: number;
      };
      failed += found.failed;
      return found.medianMs;
    };
    for (let round = 1; round <= repetitions; round++)
      for (const way of ways)
        for (const kind of attacks) {
          if (way === 'haproxy' && kind === 'UDP flood') continue; // it serves no UDP
          step.update(`round ${round} of ${repetitions}: ${way}, ${kind}`);
          const quietMs = await measure(way);
          const attacking = start(lab, way, kind);
          // The clients hold their connections then: it is not the beginning that is measured.
          if (kind === 'slow clients') await systemClock.sleep(openingMs, signal);
          const attackedMs = await measure(way);
          await attacking;
          const what = `${kind}, ${way}: latency of another Service, ratio to quiet`;
          ratios.set(what, [...(ratios.get(what) ?? []), attackedMs / quietMs]);
        }
    step.done();
    const figures = [...ratios].map(([what, values]): Figure => ({
      what,
      value: median(values),
      unit: '×',
      target: { atMost: 1.5 },
    }));
    return [
      ...figures,
      { what: 'requests of the other Service that failed', value: failed, unit: '', target: { atMost: 0 } },
    ];
  },
};

async function start({ client }: DirectLab, way: Way, kind: Attack): Promise<void> {
  const target = { to: vips[way], port: ports.attacked };
  if (kind === 'slow clients') {
    const script = path.join(import.meta.dirname, 'hosts', 'slow-clients.ts');
    const args = [target.to, target.port, slowClients, openingMs + measuredMs + 1_000].map(String);
    await client.exec('prlimit', '--nofile=8192', process.execPath, script, ...args);
  } else await flood(client, { ...target, protocol: kind === 'SYN flood' ? 'tcp' : 'udp', count: 100_000 });
}

/** On each node, at the VIP of `direct` as well: HTTP, and a server that accepts and echoes. */
async function serve({ nodes, router }: DirectLab, signal: AbortSignal): Promise<AsyncDisposable> {
  for (const machine of nodes) {
    await machine.exec('ip', 'address', 'add', `${vips.direct}/32`, 'dev', 'lo');
    await machine.ask({ do: 'serveLines', port: ports.attacked, greeting: 'hello\n' });
    await machine.ask({ do: 'serveUdp', port: ports.attacked, body: machine.name });
  }
  await router.exec('ip', 'route', 'add', floodSources, 'via', '198.51.100.2'); // the answers
  return await serveHttp(nodes, [ports.other], signal);
}

/** The three dataplanes on the balancer, each with an address for both Services. */
async function startWays(
  { balancer, client, nodes }: DirectLab,
  stack: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<void> {
  const stop = new AbortController();
  stack.defer(() => stop.abort());
  const exec = balancer.execPort;
  const common = { exec, clock: systemClock, log: recordLog(), metrics: recordMetrics(), lifetime: stop.signal };
  const health = { verdicts: () => new Map(), subscribe: () => () => undefined };
  const silence = { silentSince: () => undefined, silenceMs: 15_000, own: () => new Map<never, never>() };
  const tableFor = (both: (port: number, more: Partial<Listener>) => readonly Listener[]): TrafficTable =>
    tableOf(
      Object.entries(ports).flatMap(([name, port]) => both(port, { service: serviceKey('bench', name) })),
      nodes.map(({ name, ip4 }) => node(name, ip4)),
    );
  const protocols = ['TCP', 'UDP'] as const;

  for (const { ip4 } of nodes) await balancer.exec('ping', '-c', '1', '-W', '2', ip4); // resolves its MAC
  const direct = makeDirect({
    ...common,
    ...silence,
    health,
    probe: async () => new Map(),
    idleSeconds: 10_800,
    host: { clientsOf: async () => new Map() },
    gate: sceneGate(),
    linkOf: () => ({ name: 'eth0', index: 2, mac: '02:00:00:00:00:01', mtu: 1_500 }),
    answering: allAnswer,
    primary: () => [],
    serviceCidrs: () => [],
  });
  const ofDirect = tableFor((port, more) =>
    protocols.map((protocol) => directListener(vips.direct, port, { ...more, protocol, isPublished: true })),
  );
  await direct.apply(ofDirect, signal);

  const nat = makeNat({ ...common, ...silence, health, links: () => '' });
  const ofNat = tableFor((port, more) =>
    protocols.map((protocol) => natListener(vips.nat, port, port, { ...more, protocol })),
  );
  await nat.apply(ofNat, signal);

  const folder = await mkdtemp(path.join(tmpdir(), 'furiwake-bench-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const proxy = makeHaproxy({
    ...common,
    folder: `${folder}/haproxy`,
    earlierFolder: `${folder}/earlier`,
    descriptorLimit: 8_192,
    idleTimeoutSeconds: 3_600,
    hasIpv6: true,
    account: { uid: 65_534, gid: 65_534 },
    health: makeHealth({ ...common, probe: probeBy(() => 'alive'), silenceMs: silence.silenceMs }).families,
    files: systemFiles,
    dial: async () => 'unreachable', // this process is in another network namespace
  });
  await proxy.upsert(
    tableFor((port, more) => [listener(vips.haproxy, port, port, more)]),
    signal,
  );
  stack.defer(async () => void (await proxy.stop(AbortSignal.timeout(10_000))));
  await balancer.exec('ip', 'rule', 'add', 'fwmark', '1', 'lookup', '100');
  await balancer.exec('ip', 'route', 'add', 'local', '0.0.0.0/0', 'dev', 'lo', 'table', '100');
  await balancer.nft(`table inet bench {
    chain pre {
      type filter hook prerouting priority mangle
      ip daddr ${vips.haproxy} meta l4proto tcp meta mark set 1 tproxy ip to 127.0.0.1:${listenPort} accept
    }
  }`);
  for (const address of Object.values(vips)) {
    const isAnswered = async (): Promise<boolean> =>
      (await client.ask({ do: 'fetch', address, port: ports.other, timeoutMs: 1_000 })).status === 200;
    await until(`${address} to answer`, isAnswered, { signal, everyMs: 50 });
  }
}
