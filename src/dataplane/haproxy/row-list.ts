import type { Row } from '../../core/traffic/table.ts';
import { type Entry, entryLine } from './rows.ts';

/**
 * The rows of a table that HAProxy can serve, in the table's order, and the text of the map file with one line each.
 * `rows[i]` has `entries[i]`. A row or an entry that did not change keeps its identity.
 */
export type RowList = { readonly rows: readonly Row[]; readonly entries: readonly Entry[]; readonly text: string };

export const emptyList: RowList = { rows: [], entries: [], text: '' };

/**
 * The list of `rows` after the list `before`. With ten thousand rows and one that differs nearly all the time would go
 * into looking at what is the same; so rows are compared by identity, side by side, and only the text between the
 * first and the last difference is made anew.
 */
export function nextList(before: RowList, rows: Iterable<Row>, render: (row: Row) => Entry | undefined): RowList {
  const nextRows: Row[] = [];
  const entries: Entry[] = [];
  let at = 0;
  for (const row of rows) {
    // Also in step again after one row that is gone.
    if (before.rows[at] !== row && before.rows[at + 1] === row) at++;
    const entry = before.rows[at] === row ? before.entries[at++] : render(row);
    if (entry === undefined) continue;
    nextRows.push(row);
    entries.push(entry);
  }
  const changed = difference(before.entries, entries);
  if (changed === undefined) return before;
  return { rows: nextRows, entries, text: splice(before, entries, changed) };
}

/** Where two lists differ: from `start` to the ends, both exclusive, of the one and the other. */
export type Difference = { readonly start: number; readonly endBefore: number; readonly endAfter: number };

/** The smallest part of both lists outside of which they hold the same objects; `undefined` when they do throughout. */
export function difference(before: readonly Entry[], after: readonly Entry[]): Difference | undefined {
  if (before === after) return undefined;
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start++;
  if (start === before.length && start === after.length) return undefined;
  let same = 0;
  while (same < shorter - start && before[before.length - 1 - same] === after[after.length - 1 - same]) same++;
  return { start, endBefore: before.length - same, endAfter: after.length - same };
}

function splice(before: RowList, entries: readonly Entry[], { start, endBefore, endAfter }: Difference): string {
  const head = before.text.slice(0, offsetOf(before, start));
  const tail = before.text.slice(offsetOf(before, endBefore));
  return head + entries.slice(start, endAfter).map(entryLine).join('') + tail;
}

/** Where the line of an entry begins in the text, or would if there were one more. */
function offsetOf({ entries, text }: RowList, index: number): number {
  const entry = entries[index];
  if (entry === undefined) return text.length;
  return index === 0 ? 0 : text.indexOf(`\n${entryLine(entry)}`) + 1;
}
