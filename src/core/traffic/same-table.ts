import { PersistentMap } from '../persistent-map.ts';
import type { TrafficTable } from './table.ts';

const none: NonNullable<TrafficTable['withoutEndpoints']> = PersistentMap.empty();

/** True if both mean the same to a dataplane. */
export function isSameTable(a: TrafficTable, b: TrafficTable): boolean {
  return (
    a.nodes === b.nodes &&
    a.excludedNodes === b.excludedNodes &&
    PersistentMap.areSame(a.listeners, b.listeners) &&
    PersistentMap.areSame(a.backends, b.backends) &&
    PersistentMap.areSame(a.pods, b.pods) &&
    PersistentMap.areSame(a.withoutEndpoints ?? none, b.withoutEndpoints ?? none)
  );
}
