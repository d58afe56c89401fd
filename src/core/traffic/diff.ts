import { PersistentMap } from '../persistent-map.ts';
import type { Row, TrafficTable } from './table.ts';

export type RowDiff = {
  /** New rows, and rows that are another object than before. */
  readonly changed: readonly Row[];
  /** Rows (as they were) that are no more, or that changed hands: their connections must end. */
  readonly gone: readonly Row[];
};

/** What differs between two tables, by identity: unchanged rows are the same objects. */
export function diffRows(before: TrafficTable, after: TrafficTable): RowDiff {
  const changed: Row[] = [];
  const gone: Row[] = [];
  for (const key of PersistentMap.changedKeys(before.rows, after.rows)) {
    const [old, row] = [before.rows.get(key), after.rows.get(key)];
    if (row !== undefined) changed.push(row);
    if (old !== undefined && old.service !== row?.service) gone.push(old);
  }
  return { changed, gone };
}

/** True when nothing differs that a data plane could see. */
export function isSameTable(before: TrafficTable, after: TrafficTable): boolean {
  return before.nodes === after.nodes && PersistentMap.changedKeys(before.rows, after.rows).length === 0;
}

/** All that either holds. Of two rows for one listener that of `after` is in `rows`, and both are in `byService`. */
export function unionOf(before: TrafficTable, after: TrafficTable): TrafficTable {
  const rows = PersistentMap.changedKeys(before.rows, after.rows).flatMap((key) => {
    const row = after.rows.get(key);
    return row === undefined ? [] : [[key, row] as const];
  });
  const byService = PersistentMap.changedKeys(before.byService, after.byService).map((service) => {
    const both = [...(before.byService.get(service) ?? []), ...(after.byService.get(service) ?? [])];
    return [service, [...new Set(both)]] as const;
  });
  return {
    ...after,
    rows: before.rows.with(rows),
    byService: before.byService.with(byService),
    hosted: before.hosted.with(after.hosted),
  };
}
