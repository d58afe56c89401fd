import type { ListenerKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Revision } from '../core/revision.ts';
import { type Listener, type Listeners, type TrafficTable, usesHaproxy } from '../core/traffic/table.ts';

/** The table with some listeners replaced, or removed. */
export function withListeners(
  table: TrafficTable,
  changes: Iterable<readonly [ListenerKey, Listener | undefined]>,
): TrafficTable {
  const listeners = table.listeners.with(changes);
  return listeners === table.listeners ? table : { ...table, listeners };
}

/** Those of `target` that are not in force. */
export function listenersToChange(inForce: Listeners, target: Listeners): readonly Listener[] {
  return PersistentMap.changedKeys(inForce, target).flatMap((key) => {
    const listener = target.get(key);
    return listener === undefined || listener.revision === inForce.get(key)?.revision ? [] : listener;
  });
}

/** Those that `target` no longer has. */
export function listenersGone(held: Listeners, target: Listeners): readonly Listener[] {
  return PersistentMap.changedKeys(held, target).flatMap((key) => {
    const listener = held.get(key);
    return listener === undefined || target.has(key) ? [] : listener;
  });
}

/** `desired` with the listeners that are not removed yet: the next process must know whose connections to end. */
export function tableToSave(desired: TrafficTable, held: Listeners): TrafficTable {
  return withListeners(
    desired,
    listenersGone(held, desired.listeners).map((listener) => [listener.key, listener]),
  );
}

/**
 * A Service that is created again under the same name is another one. A file of before version 4 has no UID, which is read as the
 * name of the Service.
 */
function isOfOneService(a: Listener, b: Listener): boolean {
  return a.uid === b.uid || (a.service === b.service && [a, b].some(({ uid, service }) => String(uid) === service));
}

/** Those that another Service gets. */
export function listenersHandedOver(held: Listeners, target: Listeners): readonly ListenerKey[] {
  return PersistentMap.changedKeys(held, target).filter((key) => {
    const [old, listener] = [held.get(key), target.get(key)];
    return old !== undefined && listener !== undefined && !isOfOneService(old, listener);
  });
}

/** Whether HAProxy must do anything before the listener can be in force, which is of the same Service if it was before. */
export function needsProxy(inForce: Listeners, listener: Listener): boolean {
  if (!usesHaproxy(listener)) return false;
  const { backend, options, targetPort } = listener;
  const old = inForce.get(listener.key);
  if (old === undefined || !usesHaproxy(old) || old.revision === unconfirmed || isWithoutStandIn(old)) return true;
  return old.backend !== backend || old.targetPort !== targetPort || old.options !== options;
}

const withoutStandInMark = ' without its stand-in';

/**
 * A listener of `direct` that HAProxy does not stand in for as wanted, because it cannot be changed: not at all, or as for `old`,
 * which is in force. Such a listener is changed when HAProxy can be.
 */
export function withoutStandIn(listener: Listener, old: Listener | undefined): Listener {
  const standIn = old !== undefined && usesHaproxy(old) ? listener.standIn : undefined;
  const revision = `${listener.revision}${withoutStandInMark}` as Revision;
  return old?.revision === revision && old.standIn === standIn ? old : { ...listener, standIn, revision };
}

export function isWithoutStandIn({ revision }: Pick<Listener, 'revision'>): boolean {
  return revision.endsWith(withoutStandInMark);
}

/** Whether `listener` is in force, be it without its stand-in. */
export function isInForceAs(listener: Listener, inForce: Listener | undefined): boolean {
  const { revision } = listener;
  return inForce?.revision === revision || inForce?.revision === `${revision}${withoutStandInMark}`;
}

/** Of a listener that waits for HAProxy: one of an earlier process, or one that HAProxy may have changed in part. */
const unconfirmed = 'unconfirmed' as Revision;
const unknown = 'uncertain' as Revision;

/** After a step that failed as a whole: the listener is probably unchanged, and the next pass programs it again. */
export function uncertain(listener: Listener): Listener {
  return listener.revision === unconfirmed ? listener : { ...listener, revision: unknown };
}

/** The listeners that an earlier process programmed for the same Services as in `target`. */
export function inherit(held: Listeners, target: Listeners): Listeners {
  return PersistentMap.from(
    Array.from(held).flatMap(([key, listener]) => {
      const wanted = target.get(key);
      return wanted && isOfOneService(wanted, listener) ? [[key, { ...listener, revision: unconfirmed }] as const] : [];
    }),
  );
}

/** `inForce`, in which these listeners of HAProxy wait for it. */
export function withUnconfirmed(inForce: Listeners, waiting: readonly Listener[]): Listeners {
  return inForce.with(
    waiting.flatMap(({ key, dataplane }) => {
      const old = inForce.get(key);
      return old === undefined || dataplane !== 'haproxy' ? [] : [[key, { ...old, revision: unconfirmed }] as const];
    }),
  );
}

/**
 * A listener that cannot be changed as in `target`: as it is in force. One that waits for HAProxy is closed or opened to clients as
 * wanted nevertheless, by nftables, because the wait may last long.
 */
export function leftAs(inForce: Listeners, target: Listeners, key: ListenerKey): Listener | undefined {
  const [old, wanted] = [inForce.get(key), target.get(key)];
  if (old === undefined || wanted === undefined || old.revision !== unconfirmed) return old;
  const { sourceRanges, isHostAddress, isDraining } = wanted;
  const isSame =
    old.sourceRanges === sourceRanges && old.isHostAddress === isHostAddress && old.isDraining === isDraining;
  return isSame ? old : { ...old, sourceRanges, isHostAddress, isDraining };
}
