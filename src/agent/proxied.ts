import type { ListenerKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { isSameTable, type Listener, type Listeners, type TrafficTable, usesHaproxy } from '../core/traffic/table.ts';
import type { Clock } from '../ports/clock.ts';
import type { Refusals } from '../ports/host.ts';
import type { Proxy } from '../ports/proxy.ts';

/** Of an `upsert`: the listeners that HAProxy refuses, and those of them that it would serve with another profile. */
export type ProxyAnswer = { readonly refusals: Refusals<ListenerKey>; readonly waiting: ReadonlySet<ListenerKey> };

/**
 * Changes HAProxy, and knows what it has acknowledged: perhaps after the pass that asked for it, and for another table than the
 * next pass wants. What is the same in both tables need not be asked again, so that a slow HAProxy, which no pass waits
 * for, makes each change nevertheless.
 */
export type Proxied = {
  /**
   * Asks HAProxy to prepare `table`. If it is slow: not again for the table that it has answered last, unless it refused
   * listeners and a pass knows that; and it first removes
   * what neither `table` nor `steered`, what packets are sent to, has: passes with changes would leave it no time for that.
   */
  upsert(table: TrafficTable, steered: TrafficTable | undefined, signal: AbortSignal): Promise<ProxyAnswer>;
  /** If HAProxy is slow: not again for the table that it has acknowledged last. */
  prune(table: TrafficTable, signal: AbortSignal): Promise<void>;
  /** Whether HAProxy has needed more than a second for its last answer, or does now. */
  isSlow(): boolean;
  /** Whether HAProxy has acknowledged the listener as it is here, and was asked for no other since. */
  serves(listener: Listener): boolean;
  /** Whether HAProxy may have a listener with this key: until it has removed it. */
  mayHave(key: ListenerKey): boolean;
};

/** HAProxy is slow if it needs longer. */
export const usualMs = 1_000;

export function makeProxied(
  proxy: Pick<Proxy, 'upsert' | 'prune' | 'waiting'>,
  clock: Pick<Clock, 'monotonic'>,
): Proxied {
  let served: Listeners = PersistentMap.empty();
  /** `undefined`: an earlier process may have given it any. */
  let possible: Listeners | undefined;
  /** The last answer. `isRead`: a pass has had it, and its refusals. */
  let prepared: { readonly table: TrafficTable; readonly answer: ProxyAnswer; readonly isRead: boolean } | undefined;
  let pruned: TrafficTable | undefined;
  /** The calls under way, each with its begin. */
  const calls = new Set<{ readonly sinceMs: number }>();
  let wasSlow = false;
  const isLong = ({ sinceMs }: { readonly sinceMs: number }): boolean => clock.monotonic() - sinceMs >= usualMs;
  const isSlow = (): boolean => wasSlow || [...calls].some(isLong);

  const timed = async <T>(work: () => Promise<T>): Promise<T> => {
    const call = { sinceMs: clock.monotonic() };
    calls.add(call);
    try {
      return await work();
    } finally {
      calls.delete(call);
      wasSlow = isLong(call);
    }
  };

  const prune = async (table: TrafficTable, signal: AbortSignal): Promise<void> => {
    prepared = undefined;
    served = without(served, (key) => !table.listeners.has(key), table.listeners);
    await timed(() => proxy.prune(table, signal));
    possible = table.listeners;
    pruned = table;
  };

  return {
    upsert: async (table, steered, signal) => {
      if (isSlow()) {
        if (prepared !== undefined && isSameTable(prepared.table, table)) {
          const { answer, isRead } = prepared;
          prepared = { ...prepared, isRead: true };
          if (!isRead || answer.refusals.size === 0) return answer;
        }
        const needed = steered && joined(table, steered.listeners);
        if (needed !== undefined && possible !== undefined && hasMore(possible, needed.listeners))
          await prune(needed, signal).catch(() => signal.throwIfAborted()); // attempted, and reported, by each pass
      }
      prepared = undefined;
      pruned = undefined;
      const { listeners } = table;
      served = without(served, (key) => listeners.get(key)?.revision !== served.get(key)?.revision, listeners);
      possible = possible && joined({ ...table, listeners: possible }, listeners).listeners;
      const refusals = await timed(() => proxy.upsert(table, signal));
      const answer = { refusals, waiting: proxy.waiting() };
      served = listeners.with(Array.from(refusals.keys(), (key) => [key, undefined]));
      prepared = { table, answer, isRead: false };
      return answer;
    },
    prune: async (table, signal) => {
      if (isSlow() && pruned !== undefined && isSameTable(pruned, table)) return;
      const before = prepared;
      await prune(table, signal);
      if (before !== undefined && !hasMore(before.table.listeners, table.listeners)) prepared = before;
    },
    isSlow,
    serves: (listener) => {
      const known = served.get(listener.key);
      return known !== undefined && usesHaproxy(known) && known.revision === listener.revision;
    },
    mayHave: (key) => possible === undefined || possible.has(key),
  };
}

/** Those of `listeners` that are the same in `other`, or not `outdated`. */
function without(listeners: Listeners, outdated: (key: ListenerKey) => boolean, other: Listeners): Listeners {
  const keys = PersistentMap.changedKeys(listeners, other).filter(outdated);
  return listeners.with(keys.map((key) => [key, undefined]));
}

/** The table, with the listeners of `others` that it does not have. */
function joined(table: TrafficTable, others: Listeners): TrafficTable {
  const missing = PersistentMap.changedKeys(table.listeners, others).filter((key) => !table.listeners.has(key));
  return { ...table, listeners: table.listeners.with(missing.map((key) => [key, others.get(key)])) };
}

function hasMore(listeners: Listeners, others: Listeners): boolean {
  return PersistentMap.changedKeys(listeners, others).some((key) => !others.has(key));
}
