import { vi } from 'vitest';
import { makeSubscribers } from '../../src/async/subscribers.ts';
import type { BackendId } from '../../src/core/model/names.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import type { NodeHealth } from '../../src/core/traffic/report.ts';
import type { Listener, PodBackend, TrafficNode } from '../../src/core/traffic/table.ts';
import { makeNat } from '../../src/dataplane/nat/nat.ts';
import { makeSteering } from '../../src/dataplane/nftables/steering.ts';
import { makeHost } from '../../src/host/host.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import { type Exec, ExecError } from '../../src/ports/exec.ts';
import type { Addresses } from '../../src/ports/host.ts';
import type { Steering } from '../../src/ports/steering.ts';
import type { Nat } from '../../src/ports/nat.ts';
import { silent } from '../make/log.ts';
import { addressesOf, natListener, node, tableOf } from '../make/table.ts';
import { type RecordedMetrics, recordMetrics } from '../sim/observers.ts';
import { type NetLab, startNetLab } from './net-lab.ts';
import { patience } from './patience.ts';

const { signal } = new AbortController();

/** The nodePort that every node of the rig serves, with UDP and TCP. */
export const nodePort = 30_053;
/** Another one. */
export const otherNodePort = 30_054;

/** The added addresses: the load balancer has them. Others of 10.50.0.0/16 and fd50::/64 are only routed to it. */
const added: Addresses = addressesOf('10.50.0.1', 'fd50::1');

/** The host's own addresses. */
const own = new Map(addressesOf('10.10.0.1', 'fd10::1'));

/** A host with `nat` and the table in front of HAProxy, between a client and three nodes that answer with their names. */
export type NatRig = AsyncDisposable & {
  readonly lab: NetLab;
  /** The first one, which `start` made. */
  nat(): Nat;
  metrics(): RecordedMetrics;
  /** The adapter of another process; its programs are started by `exec`, and end with `lifetime`. */
  makeNew(lifetime: AbortSignal, exec: Exec): Nat;
  /** A new process: the tables of the former one are still there. */
  start(): Promise<void>;
  /** Ends the process; the tables stay. */
  stop(): Promise<void>;
  /** Both tables get these listeners, in the order of a pass; resolves with those that nat refuses. */
  apply(...listeners: readonly Listener[]): ReturnType<Nat['apply']>;
  /** From now on the kernel refuses questions about conntrack, or answers them again. */
  breakConntrack(isBroken: boolean): void;
  /** Of the tables, from the next `apply` on. */
  readonly pods: Map<BackendId, PodBackend>;
  /** Nodes that drain, and excluded ones, from the next `apply` on. */
  readonly drained: Set<string>;
  readonly excluded: Set<string>;
  setSilent(name: string, forMs: number | undefined): void;
  /** An interface came, went or was made again. */
  changeLinks(): void;
  /** The node that answers a datagram from this port of the client; else `timeout` or `ECONNREFUSED`. */
  nodeOf(vip: string, localPort: number, from?: 'client' | 'balancer'): Promise<string>;
  /** The nodes of `count` flows from unused ports, by port. */
  newFlows(vip: string, count: number): Promise<ReadonlyMap<number, string>>;
};

export async function startNatRig(): Promise<NatRig> {
  const lab = await startNetLab({ nodes: 3 });
  const { balancer, client } = lab;
  for (const each of lab.nodes)
    for (const port of [nodePort, otherNodePort]) {
      await each.ask({ do: 'serveUdp', port, body: each.name });
      await each.ask({ do: 'serveLines', port, greeting: `${each.name} ` });
    }
  // Refusals of many tests in a row: the kernel sends one a second.
  await balancer.exec('sysctl', '-qw', 'net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0');
  await balancer.exec('ip', 'link', 'add', 'furiwake0', 'type', 'bridge');
  await balancer.exec('ip', 'link', 'set', 'furiwake0', 'up');
  for (const { text, family } of added.values())
    await balancer.exec('ip', 'address', 'add', text, 'dev', 'furiwake0', ...(family === 6 ? ['nodad'] : []));

  const changes = makeSubscribers();
  const verdicts = new Map<string, NodeHealth>();
  const silentSince = new Map<string, number>();
  const pods: NatRig['pods'] = new Map();
  const [drained, excluded] = [new Set<string>(), new Set<string>()];
  let metrics = recordMetrics();
  let running: { nat: Nat; steering: Steering; stop: AbortController; ended: Promise<unknown> } | undefined;
  let nextPort = 20_000;
  let isConntrackBroken = false;
  let links = '';
  const withConntrack = (exec: Exec): Exec => ({
    ...exec,
    run: async (file, args, options) => {
      if (isConntrackBroken && file === 'perl' && options.stdin !== undefined)
        throw new ExecError('perl', 1, 'conntrack: Operation not permitted\n');
      return await exec.run(file, args, options);
    },
  });

  const nodeOf: NatRig['nodeOf'] = async (address, localPort, from = 'client') => {
    const { text, error } = await (from === 'client' ? client : balancer).ask({
      do: 'askUdp',
      address,
      port: 53,
      localPort,
      timeoutMs: 1_000,
      isConnected: true,
    });
    return text?.split(' ')[0] ?? error ?? '';
  };

  const rig: NatRig = {
    lab,
    nat: () => running?.nat as Nat,
    metrics: () => metrics,
    makeNew: (lifetime, exec) =>
      makeNat({
        exec: withConntrack(exec),
        health: {
          verdicts: () => new Map(Array.from(verdicts, ([name, state]) => [name as never, { 4: state, 6: state }])),
          subscribe: changes.subscribe,
        },
        silentSince: (name) => silentSince.get(name),
        silenceMs: 60_000,
        own: () => own,
        links: () => links,
        clock: systemClock,
        log: silent,
        metrics,
        lifetime,
      }),
    start: async () => {
      metrics = recordMetrics();
      const stop = new AbortController();
      const nat = rig.makeNew(stop.signal, balancer.execPort);
      const ended = nat.run(stop.signal).catch(() => undefined);
      const deps = { exec: balancer.execPort, clock: systemClock, log: silent, metrics, lifetime: stop.signal };
      running = {
        nat,
        steering: makeSteering({ ...deps, host: makeHost(deps), isBridgeFiltered: async () => false }),
        stop,
        ended,
      };
    },
    stop: async () => {
      running?.stop.abort();
      await running?.ended;
    },
    apply: async (...listeners) => {
      const nodes = lab.nodes
        .filter(({ name }) => !excluded.has(name))
        .map(({ name, ip4, ip6 }): TrafficNode => ({
          ...node(name, ip4, ip6),
          state: drained.has(name) ? 'drain' : 'active',
        }));
      const table = { ...tableOf(listeners, nodes), pods: PersistentMap.from(pods) };
      await running?.steering.apply(
        { listeners: table.listeners, serverless: new Set(), vips: added, own: new Map(), portOf: () => 292 },
        signal,
      );
      return (await running?.nat.apply(table, signal)) ?? new Map();
    },
    breakConntrack: (isBroken) => {
      isConntrackBroken = isBroken;
    },
    pods,
    drained,
    excluded,
    changeLinks: () => {
      links += '.';
      running?.nat.noteFacts();
    },
    setSilent: (name, forMs) => {
      verdicts.delete(name);
      silentSince.delete(name);
      if (forMs !== undefined) {
        verdicts.set(name, 'silent');
        silentSince.set(name, systemClock.monotonic() - forMs);
      }
      changes.tell();
    },
    nodeOf,
    newFlows: async (vip, count) => {
      const found = new Map<number, string>();
      for (let index = 0; index < count; index++) {
        const port = nextPort++;
        found.set(port, await nodeOf(vip, port));
      }
      return found;
    },
    [Symbol.asyncDispose]: async () => {
      await rig.stop();
      await lab[Symbol.asyncDispose]();
    },
  };
  await rig.start();
  await vi.waitUntil(
    async () => (await client.exec('ping', '-c', '1', '-W', '1', 'fd10::1')).includes('1 received'),
    patience,
  );
  return rig;
}

/** UDP port 53 of an address, for all nodes. */
export function dns(vip: string, more: Partial<Listener> = {}): Listener {
  return natListener(vip, 53, nodePort, more);
}
