import { PersistentMap } from '../core/persistent-map.ts';
import type { Listeners, TrafficTable } from '../core/traffic/table.ts';

/** `desired` with the listeners that are not removed yet: the next process must know whose connections to end. */
export function tableToSave(desired: TrafficTable, held: Listeners): TrafficTable {
  const leaving = PersistentMap.changedKeys(desired.listeners, held).flatMap((key) => {
    const listener = held.get(key);
    return listener === undefined || desired.listeners.has(key) ? [] : [[key, listener] as const];
  });
  return { ...desired, listeners: desired.listeners.with(leaving) };
}
