import type { Row, TrafficTable } from './table.ts';

export type RowDiff = {
  /** New rows, and rows that are another object than before. */
  readonly changed: readonly Row[];
  /** Rows (as they were) that are no more, or that changed hands: their connections must end. */
  readonly gone: readonly Row[];
};

/** What differs between two tables, by identity: unchanged rows are the same objects. */
export function diffRows(before: TrafficTable, after: TrafficTable): RowDiff {
  if (before.rows === after.rows) return { changed: [], gone: [] };
  const changed: Row[] = [];
  const gone: Row[] = [];
  for (const row of after.rows.values()) {
    const old = before.rows.get(row.key);
    if (old === row) continue;
    changed.push(row);
    if (old !== undefined && old.service !== row.service) gone.push(old);
  }
  for (const row of before.rows.values()) if (!after.rows.has(row.key)) gone.push(row);
  return { changed, gone };
}

/** True when nothing differs that a data plane could see. */
export function isSameTable(before: TrafficTable, after: TrafficTable): boolean {
  if (before === after) return true;
  if (before.nodes !== after.nodes) return false;
  const { changed, gone } = diffRows(before, after);
  return changed.length === 0 && gone.length === 0;
}
