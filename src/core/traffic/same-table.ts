import { PersistentMap } from '../persistent-map.ts';
import type { TrafficTable } from './table.ts';

const none: NonNullable<TrafficTable['withoutEndpoints']> = PersistentMap.empty();

/** True if both mean the same to a dataplane. */
export function isSameTable(a: TrafficTable, b: TrafficTable): boolean {
  return (
    a.nodes === b.nodes &&
    a.excludedNodes === b.excludedNodes &&
    PersistentMap.changedKeys(a.withoutEndpoints ?? none, b.withoutEndpoints ?? none).length === 0 &&
    PersistentMap.changedKeys(a.backends, b.backends).length === 0 &&
    PersistentMap.changedKeys(a.pods, b.pods).length === 0 &&
    PersistentMap.changedKeys(a.listeners, b.listeners).length === 0
  );
}
