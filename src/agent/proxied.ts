import { wordsOf } from '../async/error-words.ts';
import type { ListenerKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { isSameTable } from '../core/traffic/same-table.ts';
import {
  type Listener,
  type Listeners,
  stackDataplane,
  type TrafficTable,
  usesHaproxy,
} from '../core/traffic/table.ts';
import type { Clock } from '../ports/clock.ts';
import { callMsFor } from '../ports/call-times.ts';
import type { Direct } from '../ports/direct.ts';
import type { Refusals } from '../ports/host.ts';
import type { HostTable } from '../ports/host-table.ts';
import { type Proxy, ProxyAbsentError, type Unprepared } from '../ports/proxy.ts';
import { isFormerOf, withFormerProfile } from './former-settings.ts';
import { inForceOf } from './host-state.ts';
import { needsProxy, withListeners, withoutStandIn } from './listener-changes.ts';
import type { Pass } from './steps.ts';

/*
 * What the state of HAProxy means for the listeners of this host:
 *
 *   HAProxy      those that it serves            those that it must change                        those that it must remove
 *
 *   answers      in force                        in force when it acknowledges them               removed when it acknowledges it
 *   refuses one  in force                        that one stays as it is in force                 -
 *   must reload  in force                        with a former profile until then                 -
 *   is slow      in force                        as its late answers acknowledge them             as its late answers do
 *   is dead      steered to it, which refuses    as they are; those of `direct` come in force     removed at once: it has no
 *                their clients                   without their stand-in                           connections
 *
 * `Proxied` knows the answers, `prepareProxy` draws the conclusions in a pass, `outageOf` has the words for users. How HAProxy is started
 * again, with the last table that it was asked for: dataplane/haproxy/process/life.ts. How long a pass waits for it: stages.ts.
 */

/** Of an `upsert`. */
export type ProxyAnswer = {
  readonly refused: Refusals<ListenerKey>;
  /** Listeners that wait for a reload: as HAProxy serves them until then, and its words. */
  readonly deferred: ReadonlyMap<ListenerKey, Deferred>;
};

type Deferred = { readonly listener: Listener; readonly words: string };

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
    served = sameIn(served, table.listeners);
    const changes = PersistentMap.changedKeys(possible ?? PersistentMap.empty(), table.listeners).length;
    await timed(changes, () => proxy.prune(table, signal));
    possible = table.listeners;
    pruned = table;
  };

  const ask = async (table: TrafficTable, signal: AbortSignal): Promise<Unprepared> => {
    const { listeners } = table;
    const changes = PersistentMap.changedKeys(served, listeners).length;
    served = sameIn(served, listeners);
    possible = possible && joined({ ...table, listeners: possible }, listeners).listeners;
    const unprepared = await timed(changes, () => proxy.upsert(table, signal)).catch((error: unknown) => {
      if (error instanceof ProxyAbsentError) possible = listeners; // what a start gives it
      throw error;
    });
    const keys = [...unprepared.refused.keys(), ...unprepared.deferred.keys()];
    served = listeners.with(keys.map((key) => [key, undefined]));
    return unprepared;
  };

  const prepare = async (
    table: TrafficTable,
    inForce: (key: ListenerKey) => Listener | undefined,
    signal: AbortSignal,
  ): Promise<ProxyAnswer> => {
    const first = await ask(table, signal);
    const deferred: Map<ListenerKey, Deferred> = new Map();
    for (const [key, words] of first.deferred) {
      const listener = table.listeners.get(key);
      if (listener !== undefined) deferred.set(key, { listener: withFormerProfile(listener, inForce(key)), words });
    }
    if (deferred.size === 0) return { refused: first.refused, deferred };
    const former = Array.from(deferred, ([key, { listener }]) => [key, listener] as const);
    const second = await ask(withListeners(table, former), signal);
    const refused = new Map(first.refused);
    for (const [key, words] of [...second.refused, ...second.deferred])
      if (deferred.delete(key)) refused.set(key, words);
    return { refused, deferred };
  };

  return {
    upsert: async (table, { inForce, steered }, signal) => {
      if (isSlow()) {
        if (prepared !== undefined && isSameTable(prepared.table, table)) {
          const { answer, isRead } = prepared;
          prepared = { ...prepared, isRead: true };
          if (!isRead || answer.refused.size + answer.deferred.size === 0) return answer;
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

/** Makes HAProxy ready for the listeners that need it, before packets come. */
export async function prepareProxy({ ports, before, target, changed, outcomes, step, signal }: Pass): Promise<{
  readonly isUpserted: boolean;
  /** There is no record of an earlier process, and HAProxy has not answered: nothing may be steered yet. */
  readonly mustWait: boolean;
  /** What HAProxy has then, without the listeners that it is about to remove. */
  readonly upserted: TrafficTable;
}> {
  const { proxied } = ports;
  const isFirst = before.programmed === undefined;
  const inForce = (key: ListenerKey): Listener | undefined => inForceOf(outcomes.stateOf(key));
  let answer: ProxyAnswer = { refused: new Map(), deferred: new Map() };
  let isPending = false;
  const isUpserted = await step(
    'proxy',
    async () => {
      answer = await proxied.upsert(target, { inForce, steered: before.programmed?.table }, signal);
    },
    ({ failure }) => {
      isPending = failure === undefined;
      if (isFirst) outcomes.inherit();
      const delayed = changed.filter((each) => needsProxy(outcomes.stateOf(each.key), each) && !proxied.serves(each));
      outcomes.lackProxy(delayed);
      return delayed;
    },
  );
  const { refused, deferred } = answer;
  if (isUpserted) {
    outcomes.refuse(refused);
    outcomes.lackProxy(changed.filter(({ key }) => refused.has(key) || deferred.has(key)));
    for (const { listener, words } of deferred.values()) outcomes.defer(listener, words);
  } else
    for (const listener of changed.filter(outcomes.isStuck)) {
      const other = proxied.servesInstead(listener);
      if (other !== undefined) outcomes.defer(other, undefined);
    }
  const had = (key: ListenerKey): Listener | undefined =>
    before.programmed === undefined ? inForce(key) : before.programmed.proxied.listeners.get(key);
  const alone = changed.filter((listener) => {
    if (!outcomes.isStuck(listener) || listener.dataplane !== 'direct') return false;
    const old = inForce(listener.key);
    return !isUpserted || old === undefined || !usesHaproxy(old);
  });
  for (const listener of alone) outcomes.standAlone(withoutStandIn(listener, inForce(listener.key)));
  const upserted = withListeners(
    outcomes.table(),
    alone.map(({ key }) => [key, had(key)]),
  );
  const isAnyHeld = [...before.open.values()].some(({ held }) => held !== undefined);
  return { isUpserted, mustWait: isFirst && isPending && !isAnyHeld, upserted };
}

/** Why HAProxy takes no connections for a listener that is in force and that it carries at this moment. */
export function outageOf(
  listener: Listener,
  { proxy, direct }: { readonly proxy: Pick<Proxy, 'outage'>; readonly direct: Pick<Direct, 'isForwarding'> },
): string | undefined {
  const words = usesHaproxy(listener) ? proxy.outage() : undefined;
  const isCarried = listener.dataplane === 'haproxy' || !direct.isForwarding(listener.key);
  return words !== undefined && isCarried ? wordsOf(words) : undefined;
}

/** Why no table of nftables may carry the connections of a listener that is in force. */
export function tableOutageOf(
  listener: Listener,
  parts: Readonly<Record<'steering' | 'nat', Pick<HostTable, 'outage'>>> & {
    readonly direct: Pick<Direct, 'isForwarding' | 'outage'>;
  },
): string | undefined {
  const { key, dataplane } = listener;
  const ofDirect = dataplane === 'direct' ? parts.direct.outage.words() : undefined;
  if (dataplane === 'direct' && ofDirect === undefined && parts.direct.isForwarding(key)) return undefined;
  const stack = stackDataplane(listener);
  const words = stack === undefined ? ofDirect : parts[stack === 'nat' ? 'nat' : 'steering'].outage.words();
  return words === undefined ? undefined : wordsOf(words);
}

/** Those of `served` that are the same in `asked`. */
function sameIn(served: Listeners, asked: Listeners): Listeners {
  const keys = PersistentMap.changedKeys(served, asked).filter(
    (key) => asked.get(key)?.revision !== served.get(key)?.revision,
  );
  return served.with(keys.map((key) => [key, undefined]));
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
