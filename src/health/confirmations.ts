import { untilAborted } from '../async/abort.ts';
import { type Alarm, makeAlarm } from '../async/alarm.ts';
import { makeSubscribers } from '../async/subscribers.ts';
import type { BackendId, NodeName } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { share } from '../core/share.ts';
import {
  addressOfNode,
  type Backend,
  emptyTable,
  isNodesBackend,
  type Server,
  type TrafficTable,
} from '../core/traffic/table.ts';
import type { HostReport } from '../core/traffic/report.ts';
import type { Clock } from '../ports/clock.ts';
import type { Confirmations } from '../ports/confirmations.ts';
import type { Health } from '../ports/health.ts';
import type { AskHealthCheckPort, HealthCheckAnswer } from './health-check-port.ts';

/** A server that waits for its first confirmation. */
type Wait = {
  readonly id: BackendId;
  readonly node: NodeName;
  readonly sinceMs: number;
  answer: HealthCheckAnswer | undefined;
  dueMs: number;
  /** It is asked, or in the line to be asked. */
  isInLine: boolean;
  /** It has waited for so long that the report shows it. */
  isLong: boolean;
};

type Tracked = {
  backend: Backend;
  readonly confirmed: Set<NodeName>;
  readonly waits: Map<NodeName, Wait>;
};

const askedAtOnce = 64;
/** Every 200 ms for 3 s, because kube-proxy syncs within a second or two; then at growing intervals. */
const firstWaitMs = 200;
const firstWaitsMs = 3_000;
const longestWaitMs = 30_000;
const longMs = 10_000;

function waitMs({ sinceMs }: Wait, nowMs: number): number {
  return Math.min(longestWaitMs, firstWaitMs + Math.max(0, nowMs - sinceMs - firstWaitsMs) / 5);
}

/**
 * A server of a backend of a Service; without a health check port it is confirmed at once:
 *
 *           it has ready endpoints                kube-proxy confirms that
 *   absent ────────────────────────► waiting ──────────────────────────────► confirmed
 *     ▲                                 │                                        │
 *     └─────────────────────────────────┴────────────────────────────────────────┘
 *       none, or only endpoints that terminate
 *
 * Confirmed servers take the new connections. While there is none that answers, those with terminating endpoints do (KEP-1669),
 * and while there is none either, or no health check port answers, those that wait: EndpointSlices alone decide then.
 */
export function makeConfirmations(deps: {
  readonly ask: AskHealthCheckPort;
  readonly health: Health;
  readonly clock: Clock;
}): Confirmations {
  const { ask, health, clock } = deps;
  const subscribers = makeSubscribers();
  const tracked = new Map<BackendId, Tracked>();
  /** Their servers may have changed since the last `admit`. */
  const dirty = new Set<BackendId>();
  /** To be asked: the last one first, because earlier ones may not answer. */
  const line: Wait[] = [];
  let asked = 0;
  let input: TrafficTable = emptyTable;
  let output: TrafficTable = emptyTable;
  let isFirst = true;
  let unconfirmed: HostReport['unconfirmed'] = PersistentMap.empty();
  let running: { readonly alarm: Alarm; readonly signal: AbortSignal } | undefined;

  const isSilent = (node: NodeName, { family }: Backend): boolean => health.verdicts().get(node)?.[family] === 'silent';

  /** Those that take new connections. */
  const takersOf = ({ backend, confirmed, waits }: Tracked): readonly Server[] => {
    const ready = backend.servers.filter(({ isDraining }) => !isDraining);
    const proven = ready.filter(({ node }) => confirmed.has(node));
    if (proven.some(({ node }) => !isSilent(node, backend))) return proven;
    if (ready.every(({ node }) => confirmed.has(node) || waits.get(node)?.answer === 'mute')) return backend.servers;
    const terminating = backend.servers.filter(({ isDraining }) => isDraining);
    return terminating.length > 0 ? [...proven, ...terminating] : ready;
  };

  const admitted = (mine: Tracked): Backend => {
    const takers = new Set(takersOf(mine));
    const servers = mine.backend.servers.map((server) => ({ ...server, isDraining: !takers.has(server) }));
    return { ...mine.backend, servers };
  };

  const follow = (id: BackendId, backend: Backend): void => {
    const mine = tracked.get(id) ?? { backend, confirmed: new Set<NodeName>(), waits: new Map<NodeName, Wait>() };
    tracked.set(id, mine);
    mine.backend = backend;
    const ready = new Set(backend.servers.filter(({ isDraining }) => !isDraining).map(({ node }) => node));
    for (const node of mine.confirmed) if (!ready.has(node)) mine.confirmed.delete(node);
    for (const node of mine.waits.keys()) if (!ready.has(node)) mine.waits.delete(node);
    for (const node of ready) {
      if (mine.confirmed.has(node) || mine.waits.has(node)) continue;
      if (isFirst || backend.healthCheckPort === undefined) {
        mine.confirmed.add(node);
        continue;
      }
      const sinceMs = clock.monotonic();
      const wait: Wait = { id, node, sinceMs, answer: undefined, dueMs: sinceMs, isInLine: true, isLong: false };
      mine.waits.set(node, wait);
      line.push(wait);
    }
  };

  const isWaiting = (wait: Wait): boolean => tracked.get(wait.id)?.waits.get(wait.node) === wait;

  const askOne = async (wait: Wait, signal: AbortSignal): Promise<void> => {
    const mine = tracked.get(wait.id);
    const node = input.nodes.get(wait.node);
    const port = mine?.backend.healthCheckPort;
    const address = mine && node && addressOfNode(node, mine.backend.family);
    const answer = port === undefined || address === undefined ? 'mute' : await ask(address, port, signal);
    if (mine === undefined || !isWaiting(wait)) return;
    wait.isInLine = false;
    const isLong = clock.monotonic() - wait.sinceMs >= longMs;
    const isNew = answer !== wait.answer || isLong !== wait.isLong;
    wait.answer = answer;
    wait.isLong = isLong;
    if (answer === 'confirms') {
      mine.waits.delete(wait.node);
      mine.confirmed.add(wait.node);
    } else {
      wait.dueMs = clock.monotonic() + waitMs(wait, clock.monotonic());
      running?.alarm.setAt(wait.dueMs);
    }
    if (!isNew) return;
    dirty.add(wait.id);
    noteUnconfirmed(wait.id);
    subscribers.tell();
  };

  const noteUnconfirmed = (id: BackendId): void => {
    const mine = tracked.get(id);
    const nodes = [...(mine?.waits.values() ?? [])].filter(({ isLong }) => isLong).map(({ node }) => node);
    const next = mine && nodes.length > 0 ? { nodes: nodes.sort(), areUsed: mine.confirmed.size === 0 } : undefined;
    unconfirmed = unconfirmed.with([[id, next && share(unconfirmed.get(id), next)]]);
  };

  const askNext = (): void => {
    if (running === undefined || running.signal.aborted) return;
    const { signal } = running;
    while (asked < askedAtOnce) {
      const wait = line.pop();
      if (wait === undefined) return;
      if (!isWaiting(wait)) continue;
      asked++;
      void askOne(wait, signal)
        .catch(() => undefined) // only that it was aborted
        .finally(() => {
          asked--;
          askNext();
        });
    }
  };

  const ring = (): void => {
    const nowMs = clock.monotonic();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const { waits } of tracked.values())
      for (const wait of waits.values()) {
        if (wait.isInLine) continue;
        if (wait.dueMs > nowMs) nextMs = Math.min(nextMs, wait.dueMs);
        else {
          wait.isInLine = true;
          line.push(wait);
        }
      }
    if (nextMs < Number.POSITIVE_INFINITY) running?.alarm.setAt(nextMs);
    askNext();
  };

  return {
    admit: (table) => {
      const before = unconfirmed;
      for (const id of PersistentMap.changedKeys(input.backends, table.backends)) {
        const backend = table.backends.get(id);
        dirty.add(id);
        if (backend === undefined || isNodesBackend(id)) tracked.delete(id);
        else follow(id, backend);
        noteUnconfirmed(id);
      }
      const changes = Array.from(dirty, (id): [BackendId, Backend | undefined] => {
        const mine = tracked.get(id);
        if (mine === undefined) return [id, table.backends.get(id)];
        return [id, share(output.backends.get(id), admitted(mine))];
      });
      dirty.clear();
      const backends = output.backends.with(changes);
      if (table !== input || backends !== output.backends) output = { ...table, backends };
      input = table;
      isFirst = false;
      askNext();
      if (unconfirmed !== before) subscribers.tell();
      return output;
    },
    unconfirmed: () => unconfirmed,
    subscribe: subscribers.subscribe,
    run: async (signal) => {
      running = { signal, alarm: makeAlarm({ clock, signal, ring }) };
      const unsubscribe = health.subscribe(() => {
        for (const id of tracked.keys()) dirty.add(id);
        if (tracked.size > 0) subscribers.tell();
      });
      askNext();
      await untilAborted(signal).finally(unsubscribe);
    },
  };
}
