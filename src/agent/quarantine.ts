import { type Backoff, makeBackoff } from '../async/backoff.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { Revision } from '../core/revision.ts';
import type { TrafficTable } from '../core/traffic/table.ts';

/** Listeners that a tool refused on their own. Each is tried again after growing waits; a new revision at once. */
export type Quarantine = {
  /** `table` with every listener whose wait has not passed replaced by what is in force for it. */
  leaveOut(table: TrafficTable, inForce: TrafficTable['listeners'], nowMs: number): TrafficTable;
  /** After a pass over `tried`: what was refused there. */
  note(tried: TrafficTable, refusals: ReadonlyMap<ListenerKey, string>, nowMs: number): void;
  /** Listeners that wait, with the revision that was refused and the words. */
  readonly entries: ReadonlyMap<ListenerKey, { readonly revision: Revision; readonly words: string }>;
  /** When the first wait passes (monotonic ms); `undefined`: none waits. */
  nextDueMs(): number | undefined;
};

const firstWaitMs = 1_000;
const mostWaitMs = 60_000;

export function makeQuarantine(): Quarantine {
  const entries = new Map<
    ListenerKey,
    { readonly revision: Revision; readonly words: string; readonly backoff: Backoff; dueMs: number }
  >();
  return {
    entries,
    leaveOut: (table, inForce, nowMs) => {
      for (const [key, { revision }] of entries)
        if (table.listeners.get(key)?.revision !== revision) entries.delete(key); // changed, or no longer wanted
      const out = [...entries]
        .filter(([, { dueMs }]) => dueMs > nowMs)
        .map(([key]) => [key, inForce.get(key)] as const);
      if (out.length === 0) return table;
      return { ...table, listeners: table.listeners.with(out) };
    },
    note: (tried, refusals, nowMs) => {
      // Tried and accepted. One that was left out is there as it is in force, or not at all.
      for (const [key, { revision }] of entries)
        if (!refusals.has(key) && tried.listeners.get(key)?.revision === revision) entries.delete(key);
      for (const [key, words] of refusals) {
        const listener = tried.listeners.get(key);
        if (listener === undefined) continue;
        const known = entries.get(key);
        const backoff =
          known?.revision === listener.revision
            ? known.backoff
            : makeBackoff({ firstMs: firstWaitMs, mostMs: mostWaitMs });
        entries.set(key, { revision: listener.revision, words, backoff, dueMs: nowMs + backoff.next() });
      }
    },
    nextDueMs: () => {
      let first: number | undefined;
      for (const { dueMs } of entries.values()) if (first === undefined || dueMs < first) first = dueMs;
      return first;
    },
  };
}
