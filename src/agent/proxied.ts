import type { ListenerKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { isSameTable, type Listener, type Listeners, type TrafficTable, usesHaproxy } from '../core/traffic/table.ts';
import type { Clock } from '../ports/clock.ts';
import { callMsFor } from '../ports/call-times.ts';
import type { Refusals } from '../ports/host.ts';
import { type Proxy, ProxyAbsentError, type Unprepared } from '../ports/proxy.ts';
import { isFormerOf, withFormerProfile } from './former-settings.ts';
import { withListeners } from './listener-changes.ts';

/** Of an `upsert`. */
export type ProxyAnswer = {
  readonly refused: Refusals<ListenerKey>;
  /** Listeners that wait for a reload: as HAProxy serves them until then, and its words. */
  readonly waiting: ReadonlyMap<ListenerKey, Waiting>;
};

type Waiting = { readonly listener: Listener; readonly words: string };

/**
 * Changes HAProxy, and knows what it has acknowledged: perhaps after the pass that asked for it, and for another table than the
 * next pass wants. What is the same in both tables need not be asked again, so that a slow HAProxy, which no pass waits
 * for, makes each change nevertheless.
 */
export type Proxied = {
  /**
   * Asks HAProxy to prepare `table`, and once more for listeners that need a reload because of their profile, as they can be in
   * force meanwhile. If HAProxy is slow, the last answer for the same table is used again, one with refusals once; and first it
   * removes what neither `table` nor `steered` (where packets are sent) needs, for which changes would leave it no time.
   */
  upsert(
    table: TrafficTable,
    before: {
      readonly inForce: (key: ListenerKey) => Listener | undefined;
      readonly steered: TrafficTable | undefined;
    },
    signal: AbortSignal,
  ): Promise<ProxyAnswer>;
  /** If HAProxy is slow: not again for the table that it has acknowledged last. */
  prune(table: TrafficTable, signal: AbortSignal): Promise<void>;
  /** Whether HAProxy has needed longer than usual for its last answer, or does now. */
  isSlow(): boolean;
  /** Whether HAProxy has acknowledged the listener as it is here, and was asked for no other since. */
  serves(listener: Listener): boolean;
  /** The same of the listener with a former profile. */
  servesInstead(listener: Listener): Listener | undefined;
  /** Whether HAProxy may have a listener with this key: until it has removed it. */
  mayHave(key: ListenerKey): boolean;
};

export function makeProxied(proxy: Pick<Proxy, 'upsert' | 'prune'>, clock: Pick<Clock, 'monotonic'>): Proxied {
  let served: Listeners = PersistentMap.empty();
  /** `undefined`: an earlier process may have given it any. */
  let possible: Listeners | undefined;
  /** The last answer. `isRead`: a pass has had it, and its refusals. */
  let prepared: { readonly table: TrafficTable; readonly answer: ProxyAnswer; readonly isRead: boolean } | undefined;
  let pruned: TrafficTable | undefined;
  /** The calls under way, each with its begin. */
  const calls = new Set<{ readonly sinceMs: number; readonly changes: number }>();
  let wasSlow = false;
  const isLong = ({ sinceMs, changes }: { readonly sinceMs: number; readonly changes: number }): boolean =>
    clock.monotonic() - sinceMs >= callMsFor(changes);
  const isSlow = (): boolean => wasSlow || [...calls].some(isLong);

  const timed = async <T>(changes: number, work: () => Promise<T>): Promise<T> => {
    const call = { sinceMs: clock.monotonic(), changes };
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
    const changes = PersistentMap.changedKeys(possible ?? PersistentMap.empty(), table.listeners).length;
    await timed(changes, () => proxy.prune(table, signal));
    possible = table.listeners;
    pruned = table;
  };

  const ask = async (table: TrafficTable, signal: AbortSignal): Promise<Unprepared> => {
    const { listeners } = table;
    const changes = PersistentMap.changedKeys(served, listeners).length;
    served = without(served, (key) => listeners.get(key)?.revision !== served.get(key)?.revision, listeners);
    possible = possible && joined({ ...table, listeners: possible }, listeners).listeners;
    const unprepared = await timed(changes, () => proxy.upsert(table, signal)).catch((error: unknown) => {
      if (error instanceof ProxyAbsentError) possible = listeners; // what a start gives it
      throw error;
    });
    const keys = [...unprepared.refused.keys(), ...unprepared.waiting.keys()];
    served = listeners.with(keys.map((key) => [key, undefined]));
    return unprepared;
  };

  const prepare = async (
    table: TrafficTable,
    inForce: (key: ListenerKey) => Listener | undefined,
    signal: AbortSignal,
  ): Promise<ProxyAnswer> => {
    const first = await ask(table, signal);
    const waiting: Map<ListenerKey, Waiting> = new Map();
    for (const [key, words] of first.waiting) {
      const listener = table.listeners.get(key);
      if (listener !== undefined) waiting.set(key, { listener: withFormerProfile(listener, inForce(key)), words });
    }
    if (waiting.size === 0) return { refused: first.refused, waiting };
    const former = Array.from(waiting, ([key, { listener }]) => [key, listener] as const);
    const second = await ask(withListeners(table, former), signal);
    const refused = new Map(first.refused);
    for (const [key, words] of [...second.refused, ...second.waiting]) if (waiting.delete(key)) refused.set(key, words);
    return { refused, waiting };
  };

  return {
    upsert: async (table, { inForce, steered }, signal) => {
      if (isSlow()) {
        if (prepared !== undefined && isSameTable(prepared.table, table)) {
          const { answer, isRead } = prepared;
          prepared = { ...prepared, isRead: true };
          if (!isRead || answer.refused.size + answer.waiting.size === 0) return answer;
        }
        const needed = steered && joined(table, steered.listeners);
        if (needed !== undefined && possible !== undefined && hasMore(possible, needed.listeners))
          await prune(needed, signal).catch(() => signal.throwIfAborted()); // attempted, and reported, by each pass
      }
      prepared = undefined;
      pruned = undefined;
      const answer = await prepare(table, inForce, signal);
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
    servesInstead: (listener) => {
      const known = served.get(listener.key);
      return known !== undefined && isFormerOf(listener, known) ? known : undefined;
    },
    mayHave: (key) => possible === undefined || possible.has(key),
  };
}

/** Those of `listeners` that are the same in `other`, or not `outdated`. */
function without(listeners: Listeners, outdated: (key: ListenerKey) => boolean, other: Listeners): Listeners {
  const keys = PersistentMap.changedKeys(listeners, other).filter(outdated);
  return listeners.with(keys.map((key) => [key, undefined]));
}

/** Whether HAProxy has a listener with this key by the table. */
export function isProxied({ listeners }: TrafficTable, key: ListenerKey): boolean {
  const listener = listeners.get(key);
  return listener !== undefined && usesHaproxy(listener);
}

/** The table, with the listeners of `others` that HAProxy does not have by it. */
function joined(table: TrafficTable, others: Listeners): TrafficTable {
  const missing = PersistentMap.changedKeys(table.listeners, others).filter(
    (key) => others.has(key) && !isProxied(table, key),
  );
  return { ...table, listeners: table.listeners.with(missing.map((key) => [key, others.get(key)])) };
}

function hasMore(listeners: Listeners, others: Listeners): boolean {
  return PersistentMap.changedKeys(listeners, others).some((key) => !others.has(key));
}
