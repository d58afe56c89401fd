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

/** Those that another Service gets. */
export function listenersHandedOver(held: Listeners, target: Listeners): readonly ListenerKey[] {
  return PersistentMap.changedKeys(held, target).filter((key) => {
    const [old, listener] = [held.get(key), target.get(key)];
    return old !== undefined && listener !== undefined && old.service !== listener.service;
  });
}

/** Whether HAProxy must do anything before the listener can be in force, which is of the same Service if it was before. */
export function needsProxy(inForce: Listeners, listener: Listener): boolean {
  if (!usesHaproxy(listener)) return false;
  const { backend, options, targetPort } = listener;
  const old = inForce.get(listener.key);
  if (old === undefined || !usesHaproxy(old) || old.revision === inherited) return true;
  return old.backend !== backend || old.targetPort !== targetPort || old.options !== options;
}

/** Of a listener that an earlier process programmed, as far as is known: HAProxy has not confirmed it yet. */
const inherited = 'inherited' as Revision;
const unknown = 'uncertain' as Revision;

/** After a step that failed as a whole: the listener is probably unchanged, and the next pass programs it again. */
export function uncertain(listener: Listener): Listener {
  return listener.revision === inherited ? listener : { ...listener, revision: unknown };
}

/** The listeners that an earlier process programmed for the same Services as in `target`. */
export function inherit(held: Listeners, target: Listeners): Listeners {
  return PersistentMap.from(
    Array.from(held).flatMap(([key, listener]) =>
      target.get(key)?.service === listener.service ? [[key, { ...listener, revision: inherited }] as const] : [],
    ),
  );
}

/**
 * A listener that cannot be changed as in `target`: as it is in force. One of an earlier process gets the wanted source
 * ranges nevertheless, because HAProxy may fail for long.
 */
export function leftAs(inForce: Listeners, target: Listeners, key: ListenerKey): Listener | undefined {
  const [old, wanted] = [inForce.get(key), target.get(key)];
  if (old === undefined || wanted === undefined || old.revision !== inherited) return old;
  const { sourceRanges, isHostAddress } = wanted;
  const isSame = old.sourceRanges === sourceRanges && old.isHostAddress === isHostAddress;
  return isSame ? old : { ...old, sourceRanges, isHostAddress };
}
