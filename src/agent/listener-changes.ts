import type { ListenerKey } from '../core/model/names.ts';
import { type Listener, type TrafficTable, usesHaproxy } from '../core/traffic/table.ts';
import { makeListener } from '../core/traffic/make-listener.ts';
import {
  type HostState,
  inForceOf,
  isCertain,
  type ListenerState,
  listenersGone,
  listenersHandedOver,
  stateOf,
} from './host-state.ts';

/** The table with some listeners replaced, or removed. */
export function withListeners(
  table: TrafficTable,
  changes: Iterable<readonly [ListenerKey, Listener | undefined]>,
): TrafficTable {
  const listeners = table.listeners.with(changes);
  return listeners === table.listeners ? table : { ...table, listeners };
}

/**
 * `desired` with the listeners that are not removed yet, also in place of those of another Service that follow them: the next
 * process must know whose connections to end.
 */
export function tableToSave(desired: TrafficTable, host: HostState): TrafficTable {
  const left = [
    ...listenersGone(host, desired.listeners),
    ...listenersHandedOver(host, desired.listeners).flatMap((key) => stateOf(host, key)?.held ?? []),
  ];
  return withListeners(
    desired,
    left.map((listener) => [listener.key, listener]),
  );
}

/** Whether HAProxy must be changed before the listener can be in force. `state`: of the same Service. */
export function needsProxy(state: ListenerState | undefined, listener: Listener): boolean {
  if (!usesHaproxy(listener)) return false;
  const { backend, options, targetPort } = listener;
  const old = inForceOf(state);
  if (old === undefined || !usesHaproxy(old) || state?.lacksProxy === true) return true;
  return old.backend !== backend || old.targetPort !== targetPort || old.options !== options;
}

/**
 * A listener of `direct` that HAProxy does not stand in for as wanted, because it cannot be changed: not at all, or as for `old`,
 * which is in force. Such a listener is changed when HAProxy can be.
 */
export function withoutStandIn(listener: Listener, old: Listener | undefined): Listener {
  const isServed = old !== undefined && usesHaproxy(old);
  return isServed ? listener : sameAs(old, makeListener({ ...listener, standIn: undefined }));
}

/** Whether `listener` is in force, with or without its stand-in. */
export function isInForceAs(listener: Listener, state: ListenerState | undefined): boolean {
  if (state?.held === undefined || !isCertain(state)) return false;
  const { held, lacksProxy } = state;
  if (held.revision === listener.revision) return true;
  return lacksProxy && makeListener({ ...held, standIn: listener.standIn }).revision === listener.revision;
}

/**
 * A listener that cannot be changed as `wanted`: as it is in force. One that waits for HAProxy is closed or opened to clients as
 * wanted nevertheless, by nftables, because the wait may last long.
 */
export function asInForce(state: ListenerState | undefined, wanted: Listener | undefined): Listener | undefined {
  const held = inForceOf(state);
  if (held === undefined || wanted?.dataplane !== 'haproxy' || state?.lacksProxy !== true) return held;
  const { sourceRanges, isHostAddress, isDraining } = wanted;
  const isSame =
    held.sourceRanges === sourceRanges && held.isHostAddress === isHostAddress && held.isDraining === isDraining;
  return isSame ? held : makeListener({ ...held, sourceRanges, isHostAddress, isDraining });
}

/** The former object if both have the same policy: an unchanged part of a table keeps its identity. */
export function sameAs(old: Listener | undefined, listener: Listener): Listener {
  return old?.revision === listener.revision ? old : listener;
}
