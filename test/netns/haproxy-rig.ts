import { readFile } from 'node:fs/promises';
import { expect, vi } from 'vitest';
import type { Listener, TrafficNode, TrafficTable } from '../../src/core/traffic/table.ts';
import { parseServersState } from '../../src/dataplane/haproxy/runtime/answers.ts';
import { makeRuntimeApi, unixSockets } from '../../src/dataplane/haproxy/runtime/client.ts';
import { listenPort } from '../../src/dataplane/haproxy/config/config.ts';
import { type HaproxyOptions, makeHaproxy } from '../../src/dataplane/haproxy/haproxy.ts';
import { type HealthModule, makeHealth } from '../../src/health/health.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import { systemFiles } from '../../src/main/node/files.ts';
import type { Log } from '../../src/ports/log.ts';
import type { Metrics } from '../../src/ports/metrics.ts';
import type { Proxy } from '../../src/ports/proxy.ts';
import { node as tableNode, tableOf } from '../make/table.ts';
import type { Outcome } from './agent-calls.ts';
import { probeFrom } from './lab-probe.ts';
import { type NetLab, type Node, startNetLab } from './net-lab.ts';
import { patience } from './patience.ts';

/** A furiwake that controls the HAProxy of the rig; several may follow one another. */
export type Driver = {
  readonly proxy: Proxy;
  readonly health: HealthModule;
  /** Its log lines at level warn and above. */
  readonly complaints: readonly string[];
  /** Last value of a metric without labels. */
  readonly metric: (name: string) => number;
  /** Resolves after this number of further rounds of `proxy.run`. */
  rounds(count: number): Promise<void>;
  /** Starts `proxy.run`; ends with the rig, or with `end`. */
  watch(): { end(): Promise<void> };
};

/** A lab with HAProxy on the load balancer; the kernel sends it all TCP for the VIPs (10.50.0.0/16, fd50::/64). */
export type Rig = AsyncDisposable & {
  readonly lab: NetLab;
  readonly signal: AbortSignal;
  /** `silenceMs`: of the health module; default 3000. */
  newDriver(options?: Partial<HaproxyOptions> & { readonly silenceMs?: number }): Driver;
  /** A table of `listeners` over all nodes of the lab, or over `nodes`. */
  table(listeners: readonly Listener[], nodes?: readonly RigNode[]): TrafficTable;
  /** Sends packets for the VIPs to another port than HAProxy's present one. */
  steerTo(port: number): Promise<void>;
  /** `backend/server` of all servers in HAProxy. */
  servers(): Promise<readonly string[]>;
  /** The servers in HAProxy that get no new connections, and how: `spare4-0/n1 drain`. */
  outOfUse(): Promise<readonly string[]>;
  /** Sends runtime commands without furiwake's knowledge. */
  command(...commands: readonly string[]): Promise<void>;
  /** The answer to one command. */
  ask(command: string): Promise<string>;
  /** Master processes of HAProxy on the load balancer. */
  masters(): Promise<number>;
  /** A connection of the client to 10.50.0.1 port 25 that has received the greeting. */
  connect(): Promise<{ echoes(): Promise<void>; hangUp(): Promise<unknown> }>;
  /** The client fetches `/` from a VIP. */
  fetch(vip: string, port?: number): Promise<Outcome>;
};

export type RigNode = { readonly node: Node; readonly state: 'active' | 'drain' };

/** nodePort on which every node of a rig serves its name over HTTP. */
export const namePort = 30_080;
/** nodePort on which every node of a rig speaks first, then echoes. */
export const echoPort = 30_025;

export async function startRig(options: { readonly nodes: number; readonly healthz?: boolean }): Promise<Rig> {
  const lab = await startNetLab({ nodes: options.nodes });
  const ending = new AbortController();
  const signal = ending.signal;
  const watches: Promise<void>[] = [];
  for (const node of lab.nodes) {
    await node.ask({ do: 'serveHttp', port: namePort, body: node.name });
    await node.ask({ do: 'serveLines', port: echoPort, greeting: `220 ${node.name}\n` });
    if (options.healthz !== false) await node.ask({ do: 'serveHttp', port: 10_256, body: '{}' });
  }
  await interceptVips(lab);
  const sockets = unixSockets({ clock: systemClock });
  const runtime = makeRuntimeApi({ sockets, path: `${lab.folder}/haproxy/worker.sock` });

  const newDriver: Rig['newDriver'] = ({ silenceMs = 3000, ...more } = {}) => {
    const complaints: string[] = [];
    const values = new Map<string, number>();
    let rounds = 0;
    const metrics = collectingMetrics(values, (name) => {
      if (name === 'furiwake_connections') rounds++;
    });
    const log = collectingLog(complaints);
    const health = makeHealth({
      probe: probeFrom(lab.balancer),
      silenceMs,
      clock: systemClock,
      log,
      metrics,
    });
    const proxy = makeHaproxy({
      folder: `${lab.folder}/haproxy`,
      earlierFolder: `${lab.folder}/earlier`,
      descriptorLimit: 4000,
      idleTimeoutSeconds: 3600,
      hasIpv6: true,
      account: { uid: 65_534, gid: 65_534 },
      health: health.families,
      exec: lab.balancer.execPort,
      files: systemFiles,
      clock: systemClock,
      log,
      metrics,
      dial: async () => 'unreachable', // this process is in another network namespace
      ...more,
    });
    return {
      proxy,
      health,
      complaints,
      rounds: async (count) => {
        const end = rounds + count;
        await vi.waitUntil(() => rounds >= end, { timeout: count * 15_000, interval: 50 });
      },
      metric: (name) => values.get(name) ?? 0,
      watch: () => {
        const stop = new AbortController();
        const running = proxy.run(AbortSignal.any([signal, stop.signal]));
        watches.push(running);
        return {
          end: () => {
            stop.abort();
            return running;
          },
        };
      },
    };
  };

  const serverStates = async (): Promise<ReturnType<typeof parseServersState>> => {
    const [answer = ''] = await runtime.ask(['show servers state'], signal);
    return parseServersState(answer);
  };

  return {
    lab,
    signal,
    newDriver,
    table: (listeners, nodes = lab.nodes.map((node) => ({ node, state: 'active' }))) =>
      tableOf(listeners, nodes.map(tableNodeOf)),
    steerTo: (port) => lab.balancer.nft(`delete table inet rig\n${steering(port)}`),
    servers: async () => (await serverStates()).map(({ backend, server }) => `${backend}/${server}`),
    outOfUse: async () =>
      (await serverStates())
        .filter(({ admin }) => admin !== 'ready')
        .map(({ backend, server, admin }) => `${backend}/${server} ${admin}`),
    command: async (...commands) => {
      const refusals = await runtime.perform(commands, signal);
      if (refusals.size > 0) throw new Error(`HAProxy refused ${[...refusals.values()].join(', ')}`);
    },
    ask: async (command) => (await runtime.ask([command], signal))[0] ?? '',
    masters: () => masters(lab),
    connect: () => connect(lab),
    fetch: (vip, port = 80) => lab.client.ask({ do: 'fetch', address: vip, port }),
    [Symbol.asyncDispose]: async () => {
      ending.abort();
      await Promise.all(watches);
      await lab[Symbol.asyncDispose]();
    },
  };
}

async function masters({ balancer }: NetLab): Promise<number> {
  const inside = await balancer.exec('ip', 'netns', 'pids', balancer.namespace);
  const statuses = await Promise.all(
    inside
      .trim()
      .split('\n')
      .map((pid) => readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')),
  );
  return statuses.filter((status) => /^Name:\thaproxy$/m.test(status) && /^PPid:\t1$/m.test(status)).length;
}

async function connect({ client }: NetLab): ReturnType<Rig['connect']> {
  const { id = 0 } = await client.ask({ do: 'dial', address: '10.50.0.1', port: 25 });
  const heard = async (): Promise<string> => (await client.ask({ do: 'heard', id })).text ?? '';
  await vi.waitFor(async () => expect(await heard()).toMatch(/^220 /), patience);
  return {
    echoes: async () => {
      const word = `word ${performance.now()}`;
      await client.ask({ do: 'say', id, text: word });
      await vi.waitFor(async () => expect(await heard()).toContain(word), patience);
    },
    hangUp: () => client.ask({ do: 'hangUp', id }),
  };
}

function tableNodeOf({ node, state }: RigNode): TrafficNode {
  return { ...tableNode(node.name, node.ip4, node.ip6), state };
}

/** Replaces the steering, for all ports of the VIPs at once. */
async function interceptVips({ balancer }: NetLab): Promise<void> {
  for (const [version, all] of [
    ['-4', '0.0.0.0/0'],
    ['-6', '::/0'],
  ] as const) {
    await balancer.exec('ip', version, 'rule', 'add', 'fwmark', '1', 'lookup', '100');
    await balancer.exec('ip', version, 'route', 'add', 'local', all, 'dev', 'lo', 'table', '100');
  }
  await balancer.nft(steering(listenPort));
}

function steering(port: number): string {
  return `table inet rig {
    chain pre {
      type filter hook prerouting priority mangle
      ip daddr 10.50.0.0/16 meta l4proto tcp meta mark set 1 tproxy ip to 127.0.0.1:${port} accept
      ip6 daddr fd50::/64 meta l4proto tcp meta mark set 1 tproxy ip6 to [::1]:${port} accept
    }
  }`;
}

function collectingLog(complaints: string[]): Log {
  const note = (fields: Readonly<Record<string, unknown>>, message: string): void => {
    const { err } = fields;
    const words = err instanceof Error ? err.message : err;
    complaints.push(typeof words === 'string' ? `${message}: ${words}` : message);
  };
  const log: Log = { debug: () => {}, info: () => {}, warn: note, error: note, failing: () => {}, child: () => log };
  return log;
}

function collectingMetrics(values: Map<string, number>, seen: (name: string) => void): Metrics {
  const keyOf = (name: string, labels: Readonly<Record<string, string>> = {}): string =>
    [name, ...Object.entries(labels).map(([label, value]) => `${label}=${value}`)].join(' ');
  return {
    counter: (name) => ({
      add: (value, labels) => values.set(keyOf(name, labels), (values.get(keyOf(name, labels)) ?? 0) + value),
      reset: () => values.clear(),
    }),
    gauge: (name) => ({
      set: (value, labels) => {
        seen(name);
        values.set(keyOf(name, labels), value);
      },
      remove: (labels) => values.delete(keyOf(name, labels)),
      reset: () => values.clear(),
    }),
    histogram: () => ({ observe: () => {} }),
  };
}
