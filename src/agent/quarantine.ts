import { type Backoff, makeBackoff } from '../async/backoff.ts';
import { makeTrouble, type Trouble } from '../async/trouble.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { Revision } from '../core/revision.ts';
import type { Listeners, TrafficTable } from '../core/traffic/table.ts';
import type { Log } from '../ports/log.ts';
import type { PassResult } from './pass.ts';

/** The refused listeners. Each is tried again after growing waits; a new revision at once. */
export type Quarantine = {
  /** `table`, in which every listener whose wait has not ended is as it is in force, or missing. */
  leaveOut(table: TrafficTable, inForce: Listeners, nowMs: number): TrafficTable;
  /** Notes and logs the refusals of a pass over `tried`. */
  note(tried: TrafficTable, result: Pick<PassResult, 'refused' | 'waiting' | 'blocked'>, nowMs: number): void;
  /** The refused listeners, each with the refused revision. */
  readonly entries: ReadonlyMap<ListenerKey, { readonly revision: Revision } & ListenerRefusal>;
  /** When the first wait ends (monotonic ms); `undefined`: none waits. */
  nextDueMs(): number | undefined;
};

/** Why a listener is not in force as wanted, in the words of a tool. `isWaiting`: HAProxy serves it with another profile. */
export type ListenerRefusal = { readonly words: string; readonly isWaiting: boolean };

type QuarantineEntry = ListenerRefusal & {
  readonly revision: Revision;
  readonly backoff: Backoff;
  readonly trouble: Trouble;
  /** `undefined`: its wait is over, and it depends on a stage that is not done. The pass that repeats the stage tries it. */
  readonly dueMs: number | undefined;
};

const wait = { firstMs: 1_000, mostMs: 60_000 };

export function makeQuarantine(deps: { readonly log: Log; readonly monotonic: () => number }): Quarantine {
  const { log, monotonic } = deps;
  const entries = new Map<ListenerKey, QuarantineEntry>();
  return {
    entries,
    leaveOut: (table, inForce, nowMs) => {
      for (const [key, { revision, trouble }] of entries)
        if (table.listeners.get(key)?.revision !== revision) {
          trouble.drop(); // changed, or no longer wanted
          entries.delete(key);
        }
      const out = [...entries]
        .filter(([, { dueMs }]) => dueMs !== undefined && dueMs > nowMs)
        .map(([key]) => [key, inForce.get(key)] as const);
      if (out.length === 0) return table;
      return { ...table, listeners: table.listeners.with(out) };
    },
    note: ({ listeners }, { refused, waiting, blocked }, nowMs) => {
      for (const [key, entry] of entries) {
        // A listener that still waits is not in `tried` with the refused revision.
        if (refused.has(key) || listeners.get(key)?.revision !== entry.revision) continue;
        if (blocked.has(key)) entries.set(key, { ...entry, dueMs: undefined });
        else {
          entry.trouble.over();
          entries.delete(key);
        }
      }
      for (const [key, words] of refused) {
        const listener = listeners.get(key);
        if (listener === undefined) continue;
        const { revision, service } = listener;
        const known = entries.get(key);
        const { backoff, trouble } =
          known?.revision === revision
            ? known
            : {
                backoff: makeBackoff(wait),
                trouble: makeTrouble({ what: 'programming a listener', log, monotonic }),
              };
        trouble.failed(words, { listener: key, service });
        entries.set(key, {
          revision,
          words,
          isWaiting: waiting.has(key),
          backoff,
          trouble,
          dueMs: nowMs + backoff.next(),
        });
      }
    },
    nextDueMs: () => {
      let first: number | undefined;
      for (const { dueMs } of entries.values())
        if (dueMs !== undefined && (first === undefined || dueMs < first)) first = dueMs;
      return first;
    },
  };
}
