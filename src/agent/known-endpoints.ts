import type { BackendId } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { hostBackend } from '../core/traffic/host-pods.ts';
import type { TrafficTable } from '../core/traffic/table.ts';

/**
 * `next`, with what it does not know as in `before`: while the controller does not know the endpoints, the backends that listeners
 * use stay as they are, and the listeners without endpoints are the same.
 */
export function withKnownEndpoints(next: TrafficTable, before: TrafficTable | undefined): TrafficTable {
  if (before === undefined) return next;
  const table = { ...next, withoutEndpoints: next.withoutEndpoints ?? before.withoutEndpoints };
  const missing = [...missingIn(table.backends, before.backends), ...missingIn(table.pods, before.pods)];
  if (missing.length === 0) return table;
  const used = new Set([...table.listeners.values()].flatMap((each) => [each.backend, hostBackend(each) ?? []].flat()));
  const kept = missing.filter((id) => used.has(id));
  if (kept.length === 0) return table;
  return {
    ...table,
    backends: table.backends.with(entriesOf(kept, before.backends)),
    pods: table.pods.with(entriesOf(kept, before.pods)),
  };
}

function missingIn<V>(now: PersistentMap<BackendId, V>, before: PersistentMap<BackendId, V>): readonly BackendId[] {
  return PersistentMap.changedKeys(before, now).filter((id) => !now.has(id));
}

function entriesOf<V>(
  ids: readonly BackendId[],
  map: PersistentMap<BackendId, V>,
): readonly (readonly [BackendId, V])[] {
  return ids.flatMap((id) => {
    const value = map.get(id);
    return value === undefined ? [] : [[id, value] as const];
  });
}
