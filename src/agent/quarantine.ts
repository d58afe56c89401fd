import { type Backoff, makeBackoff, waitLimits } from '../async/backoff.ts';
import { makeTrouble, type Trouble } from '../async/trouble.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { Revision } from '../core/revision.ts';
import type { Listeners } from '../core/traffic/table.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { HostState } from './host-state.ts';

/** When refused listeners are tried again: each after growing waits; a new revision at once. */
export type Quarantine = {
  /** The listeners whose wait has not ended. */
  postponed(wanted: Listeners, nowMs: number): ReadonlySet<ListenerKey>;
  /** Notes and logs the refusals of a pass. */
  note(pass: TriedPass, nowMs: number): void;
  size(): number;
  /** Whether a listener is to be tried again, be it in force meanwhile. */
  isDue(nowMs: number): boolean;
  /** When the first wait ends (monotonic ms); `Infinity`: none waits. */
  nextDueMs(): number;
};

type TriedPass = {
  readonly tried: Listeners;
  readonly postponed: ReadonlySet<ListenerKey>;
  /** Each with the words of a tool. */
  readonly refused: ReadonlyMap<ListenerKey, string>;
  /** After it. */
  readonly state: Pick<HostState, 'open'>;
};

type QuarantineEntry = {
  readonly revision: Revision;
  readonly backoff: Backoff;
  readonly trouble: Trouble;
  /** `undefined`: its wait is over, and it depends on a stage that is not done. The pass that repeats the stage tries it. */
  readonly dueMs: number | undefined;
};

export function makeQuarantine({
  log,
  clock,
}: {
  readonly log: Log;
  readonly clock: Pick<Clock, 'monotonic'>;
}): Quarantine {
  const entries = new Map<ListenerKey, QuarantineEntry>();
  const nextDueMs = (): number => Math.min(...Array.from(entries.values(), ({ dueMs = Infinity }) => dueMs));
  return {
    size: () => entries.size,
    postponed: (wanted, nowMs) => {
      for (const [key, { revision, trouble }] of entries)
        if (wanted.get(key)?.revision !== revision) {
          trouble.drop(); // changed, or no longer wanted
          entries.delete(key);
        }
      return new Set([...entries].filter(([, { dueMs = 0 }]) => dueMs > nowMs).map(([key]) => key));
    },
    note: ({ tried, postponed, refused, state }, nowMs) => {
      for (const [key, entry] of entries) {
        if (refused.has(key) || postponed.has(key)) continue;
        if (state.open.get(key)?.gap !== undefined) entries.set(key, { ...entry, dueMs: undefined });
        else {
          entry.trouble.over();
          entries.delete(key);
        }
      }
      for (const [key, words] of refused) {
        const listener = tried.get(key);
        if (listener === undefined) continue;
        const { revision, service } = listener;
        const known = entries.get(key);
        const { backoff, trouble } =
          known?.revision === revision
            ? known
            : {
                backoff: makeBackoff(waitLimits.patient),
                trouble: makeTrouble({ what: 'programming a listener', log, clock }),
              };
        trouble.failed(words, { listener: key, service });
        entries.set(key, { revision, backoff, trouble, dueMs: nowMs + backoff.next() });
      }
    },
    isDue: (nowMs) => nextDueMs() <= nowMs,
    nextDueMs,
  };
}
