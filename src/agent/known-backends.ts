import { PersistentMap } from '../core/persistent-map.ts';
import type { TrafficTable } from '../core/traffic/table.ts';

/**
 * `table`, with the backends of `before` that its listeners use and that it does not have: while the controller does not know
 * the endpoints, the servers stay as they are.
 */
export function withKnownBackends(table: TrafficTable, before: TrafficTable | undefined): TrafficTable {
  if (before === undefined) return table;
  const missing = PersistentMap.changedKeys(before.backends, table.backends).filter((id) => !table.backends.has(id));
  if (missing.length === 0) return table;
  const used = new Set(Array.from(table.listeners.values(), ({ backend }) => backend));
  const kept = missing.filter((id) => used.has(id)).map((id) => [id, before.backends.get(id)] as const);
  return kept.length === 0 ? table : { ...table, backends: table.backends.with(kept) };
}
