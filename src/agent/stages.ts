import { type Backoff, makeBackoff } from '../async/backoff.ts';
import { settlesWithin } from '../async/settles-within.ts';
import { makeTrouble, type Trouble } from '../async/trouble.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';

/** The stages of a pass, in their order. Each text completes "… failed" in the log. */
const stages = {
  proxy: 'programming HAProxy',
  steering: 'programming nftables',
  direct: 'programming the table of direct',
  nat: 'programming the table of nat',
  addresses: 'adding addresses to this host',
  pruning: 'removing listeners from HAProxy',
  connections: 'ending the connections of removed listeners',
  removal: 'removing addresses from this host',
  /** No other stage failed, but a tool refused to remove a listener. */
  remnants: 'removing listeners',
} as const;
export type Stage = keyof typeof stages;

/** HAProxy may hang, and other dataplanes do not need it: a pass waits for it no longer than this. It waits for all other tools. */
export const patienceMs = 1_000;
/** The same for a HAProxy that is slow each time, as on a busy machine: it must be able to make a change within one pass. */
const mostPatienceMs = 32_000;
const isHaproxys = (stage: Stage): boolean => stage === 'proxy' || stage === 'pruning';
export const slowWords = 'HAProxy has not answered yet';

/** Why a stage is not done. */
export type Shortfall = {
  /** Of the last failure; `undefined`: the first attempt is under way. */
  readonly words: string | undefined;
  /** Whether this pass attempted it, so that a part of it may be done. */
  readonly wasTried: boolean;
};

/** The stages of one pass. */
export type PassStages = {
  /** Whether one that was not done is due: the pass must be made though nothing is new. */
  readonly areDue: boolean;
  /** Attempts or skips a stage. `undefined`: done. Rejects with the reason of `signal`. */
  attempt(stage: Stage, work: () => Promise<unknown>, signal: AbortSignal): Promise<Shortfall | undefined>;
  /** The pass has ended. */
  end(): void;
};

/**
 * What becomes of each stage from pass to pass. None delays another:
 *
 *   done      attempted by each pass
 *   waiting   it failed: skipped until it is due, after a time that grows. Or an attempt has ended late, maybe for another
 *             table: due at once. Without a time: it depends on another stage, and the pass that does that one attempts it
 *   slow      an attempt has outlasted its pass: skipped until it ends. If it has succeeded, the next one gets twice the time,
 *             until one is as fast as usual
 *
 * No pass skips steering, without which none changes anything.
 */
export type Stages = {
  begin(): PassStages;
  /** Whether steering failed: all changes wait for it. */
  areBlocked(): boolean;
  areDone(): boolean;
  /** Whether an attempt outlasts its pass: HAProxy works on it. */
  areSlow(): boolean;
  /** Why they are not, each cause once. */
  troubles(): readonly string[];
  /** When the next one is due, monotonic ms; `undefined`: none waits for a time. */
  dueMs(): number | undefined;
  /** The next pass ignores the waits. */
  hurry(): void;
};

type Progress = {
  readonly is: 'done' | 'waiting' | 'slow';
  /** Of the last failure. */
  readonly words?: string | undefined;
  readonly dueMs?: number;
};

export function makeStages(deps: {
  /** Called after each failure. */
  readonly onFailure: (stage: Stage) => void;
  /** Called at the end of an attempt that has outlasted its pass. */
  readonly onLateEnd: () => void;
  readonly clock: Clock;
  readonly log: Log;
}): Stages {
  const { onFailure, onLateEnd, clock, log } = deps;
  const monotonic = (): number => clock.monotonic();
  const entries = new Map<Stage, StageEntry>();
  const entryOf = (stage: Stage): StageEntry => {
    const known = entries.get(stage);
    if (known !== undefined) return known;
    const backoff = makeBackoff({ firstMs: 200, mostMs: 30_000 });
    const trouble = makeTrouble({ what: stages[stage], log, monotonic, level: 'error' });
    const entry: StageEntry = { stage, backoff, trouble, progress: { is: 'done' } };
    entries.set(stage, entry);
    return entry;
  };
  const undone = (): readonly StageEntry[] => [...entries.values()].filter(({ progress }) => progress.is !== 'done');
  const steering = (): Progress | undefined => entries.get('steering')?.progress;
  let isUrgent = false;
  /** How long a pass waits for HAProxy. */
  let haproxyMs = patienceMs;

  const fail = (entry: StageEntry, error: unknown): Shortfall => {
    const words = wordsOf(error);
    entry.progress = { is: 'waiting', words, dueMs: monotonic() + entry.backoff.next() };
    entry.trouble.failed(error);
    onFailure(entry.stage);
    return { words, wasTried: true };
  };

  const perform = async (
    entry: StageEntry,
    work: () => Promise<unknown>,
    signal: AbortSignal,
  ): Promise<Shortfall | undefined> => {
    const begunMs = monotonic();
    const attempt = work().then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    if (isHaproxys(entry.stage) && !(await settlesWithin(attempt, haproxyMs, clock, signal))) {
      const { words } = entry.progress;
      entry.progress = { is: 'slow', words };
      void attempt.then((failure) => {
        if (signal.aborted) return;
        if (failure === undefined) {
          entry.progress = { is: 'waiting', words, dueMs: monotonic() };
          haproxyMs = Math.min(haproxyMs * 2, mostPatienceMs);
        } else fail(entry, failure.error);
        onLateEnd();
      });
      return { words, wasTried: true };
    }
    const failure = await attempt;
    if (failure !== undefined) {
      signal.throwIfAborted();
      return fail(entry, failure.error);
    }
    entry.progress = { is: 'done' };
    if (isHaproxys(entry.stage) && monotonic() - begunMs < patienceMs) haproxyMs = patienceMs;
    entry.trouble.over();
    entry.backoff.reset();
    return undefined;
  };

  return {
    begin: () => {
      const nowMs = monotonic();
      const isDue = ({ stage, progress: { is, dueMs = Infinity } }: StageEntry): boolean =>
        is === 'waiting' && (isUrgent || stage === 'steering' || dueMs <= nowMs);
      const isSkipped = (entry: StageEntry): boolean =>
        entry.progress.is === 'slow' || (entry.progress.dueMs !== undefined && !isDue(entry));
      const areDue = undone().some(isDue);
      const skipped = new Set(undone().filter(isSkipped));
      isUrgent = false;
      /** Of the stages that were attempted. */
      const outcomes = new Map<StageEntry, Shortfall | undefined>();
      return {
        areDue,
        attempt: async (stage, work, signal) => {
          const entry = entryOf(stage);
          if (skipped.has(entry)) return { words: entry.progress.words, wasTried: false };
          // A pass may consist of two: what failed in the first one is not attempted in the second one.
          const outcome = outcomes.get(entry) ?? (await perform(entry, work, signal));
          outcomes.set(entry, outcome);
          return outcome;
        },
        end: () => {
          for (const entry of undone())
            if (!skipped.has(entry) && !outcomes.has(entry)) {
              const { words } = entry.progress;
              entry.progress = { is: 'waiting', words };
            }
        },
      };
    },
    areBlocked: () => steering()?.is === 'waiting',
    areDone: () => undone().length === 0,
    areSlow: () => undone().some(({ progress: { is } }) => is === 'slow'),
    troubles: () => [...new Set(undone().map(({ progress: { words = slowWords } }) => words))],
    dueMs: () => {
      const times = undone().flatMap(({ progress: { dueMs } }) => dueMs ?? []);
      return steering()?.dueMs ?? (times.length === 0 ? undefined : Math.min(...times));
    },
    hurry: () => {
      isUrgent = true;
    },
  };
}

type StageEntry = {
  readonly stage: Stage;
  readonly backoff: Backoff;
  readonly trouble: Trouble;
  progress: Progress;
};

export function wordsOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).trim().replaceAll(/\s*\n\s*/g, '; ');
}
