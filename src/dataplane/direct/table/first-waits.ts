import type { Family } from '../../../core/ip/ip.ts';
import type { ListenerKey, NodeName, ServiceUid } from '../../../core/model/names.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import { backendOf, stackDataplane, type TrafficTable } from '../../../core/traffic/table.ts';

/** kube-proxy syncs within a second or two of the publication, and the first probe of a node takes as long. */
const waitMs = 5_000;
/** After this time the kernel ends a wait by itself: furiwake may be killed, and nothing else would end it. */
export const waitLapseMs = 6_000;

type FirstWait = {
  readonly uid: ServiceUid;
  /** Monotonic ms; `undefined`: it has no servers yet, so neither a node nor the stand-in has connections. */
  readonly untilMs: number | undefined;
};

/** What a wait depends on. */
type WaitState = {
  readonly table: TrafficTable;
  /** The listeners that a node serves. */
  readonly open: { has(listener: ListenerKey): boolean };
  /** Those whose new flows the host refuses. */
  readonly serverless: ReadonlySet<ListenerKey>;
  /** False: an obstacle keeps the node from being a next hop. */
  readonly mayOpen: (node: NodeName, family: Family) => boolean;
  readonly nowMs: number;
};

/**
 * A new listener with a stand-in waits for its first node for up to five seconds, and its packets are dropped meanwhile: a client
 * repeats its SYN after a second, and then a node sees its address. Otherwise the first connections of each Service would
 * go through the stand-in, without the client's address and without affinity.
 *
 * A listener that the stand-in may already serve never waits: it was in the first table of this process (`inherited.ts`), or another
 * dataplane had it.
 */
export type FirstWaits = {
  /** Follows the change from one table to the next. `inherited`: listeners that do not wait. */
  follow(
    before: TrafficTable['listeners'],
    after: TrafficTable['listeners'],
    inherited: ReadonlySet<ListenerKey>,
  ): void;
  /** The listeners that wait, and when the first of these waits ends; `Infinity` without any. */
  waiting(state: WaitState): { readonly listeners: ReadonlySet<ListenerKey>; readonly untilMs: number };
};

export function makeFirstWaits(): FirstWaits {
  const waits = new Map<ListenerKey, FirstWait>();

  const next = (
    key: ListenerKey,
    wait: FirstWait,
    { table, open, serverless, mayOpen, nowMs }: WaitState,
  ): FirstWait | undefined => {
    const listener = table.listeners.get(key);
    if (listener?.uid !== wait.uid) return undefined;
    if (serverless.has(key)) return { ...wait, untilMs: undefined };
    if (open.has(key)) return undefined;
    const { family } = listener.address;
    const { servers } = backendOf(table, listener.backend, family);
    if (wait.untilMs !== undefined) return nowMs < wait.untilMs ? wait : undefined;
    if (servers.length === 0) return wait;
    return servers.some(({ node }) => mayOpen(node, family)) ? { ...wait, untilMs: nowMs + waitMs } : undefined;
  };

  return {
    follow: (before, after, inherited) => {
      for (const key of PersistentMap.changedKeys(before, after)) {
        const listener = after.get(key);
        const isNew = before.get(key)?.uid !== listener?.uid;
        if (listener?.dataplane !== 'direct' || stackDataplane(listener) === undefined) waits.delete(key);
        else if (isNew && !inherited.has(key)) waits.set(key, { uid: listener.uid, untilMs: undefined });
      }
    },
    waiting: (state) => {
      const listeners = new Set<ListenerKey>();
      let firstMs = Infinity;
      for (const [key, wait] of waits) {
        const now = next(key, wait, state);
        if (now === undefined) waits.delete(key);
        else waits.set(key, now);
        if (now?.untilMs === undefined) continue;
        listeners.add(key);
        firstMs = Math.min(firstMs, now.untilMs);
      }
      return { listeners, untilMs: firstMs };
    },
  };
}
