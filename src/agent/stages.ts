import { type Backoff, makeBackoff, waitLimits } from '../async/backoff.ts';
import { settlesWithin } from '../async/settles-within.ts';
import { makeTrouble, type Trouble } from '../async/trouble.ts';
import { wordsOf } from '../async/error-words.ts';
import { callMsFor, longestCallMs, steeringCallMs, usualCallMs } from '../ports/call-times.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { ProxyDownError } from '../ports/proxy.ts';

/** The stages of a pass, in their order: what completes "… failed" in the log, and the tool that may be slow. */
const stages = {
  proxy: { what: 'programming HAProxy', tool: 'HAProxy' },
  steering: { what: 'programming nftables', tool: 'nft' },
  direct: { what: 'programming the table of direct', tool: 'nft' },
  nat: { what: 'programming the table of nat', tool: 'nft' },
  addresses: { what: 'adding addresses to this host', tool: 'the kernel' },
  pruning: { what: 'removing listeners from HAProxy', tool: 'HAProxy' },
  connections: { what: 'ending the connections of removed listeners', tool: 'the kernel' },
  removal: { what: 'removing addresses from this host', tool: 'the kernel' },
  /** Not a step: records that a tool refused to remove a listener. */
  remnants: { what: 'removing listeners', tool: 'nft' },
} as const;
export type Stage = keyof typeof stages;

/**
 * A pass that changes so many listeners waits for a stage no longer than this; not for one that failed late, nor while
 * another stage of the tool is slow. Longer for steering, because nearly every later stage needs it.
 */
const patienceOf = (stage: Stage, changes: number): number =>
  callMsFor(changes, stage === 'steering' ? steeringCallMs : usualCallMs);
/** The same while the tool is slow at another stage. */
export const shortMs = 200;
const isHaproxys = (stage: Stage): boolean => stages[stage].tool === 'HAProxy';
export const slowWords = (stage: Stage): string => `${stages[stage].tool} has not answered yet`;

export type StageFailure = {
  /** Of the tool. */
  readonly words: string;
  /** HAProxy takes no connections. */
  readonly isDown: boolean;
};

/** Why a stage is not done. */
export type Shortfall = {
  /** The last one; `undefined`: the first attempt is under way. */
  readonly failure: StageFailure | undefined;
  /** Whether this pass attempted it, so that a part of it may be done. */
  readonly wasTried: boolean;
};

export type AttemptOptions = {
  /** How many listeners the pass changes or removes. */
  readonly changes: number;
  readonly signal: AbortSignal;
};

/** The stages of one pass. */
export type PassStages = {
  /** Whether one that was not done is due: the pass must be made though nothing is new. */
  readonly areDue: boolean;
  /** Attempts or skips a stage. `undefined`: done. Rejects with the reason of `signal`. */
  attempt(stage: Stage, work: () => Promise<unknown>, options: AttemptOptions): Promise<Shortfall | undefined>;
  /** The pass has ended. */
  end(): void;
};

/**
 * What becomes of each stage from pass to pass. None delays another for more than its patience, and that only once:
 *
 *   done      attempted by each pass
 *   delayed   it failed: skipped until it is due, after a time that grows. Without a time: it depends on another stage, and the
 *             pass that does that one attempts it
 *   slow      an attempt has outlasted its pass: skipped until it ends
 *   late      it has ended well, maybe for another table: due at once; if the next attempt ends late, too, after a time that grows
 *
 * No pass waits for a stage
 *
 *   - whose last attempt failed after its pass had ended, until an attempt is done in time,
 *   - of a slow HAProxy: its late answers count, listener by listener (`Proxied`),
 *
 * and a pass waits only briefly for one whose tool is slow at another stage. Any other stage whose attempt ends late and well gets twice
 * the time for the next one.
 *
 * No stage but steering delays changes that do not need it; without steering none is made.
 */
export type Stages = {
  begin(): PassStages;
  /** All changes wait for steering, which is not done. `words`: of its last failure. `undefined`: it is done. */
  blockage(): { readonly words: string | undefined } | undefined;
  areDone(): boolean;
  /** Whether an attempt of one of these outlasts its pass, or no pass has followed its end: what it has changed is not known. */
  isUnsettled(...of: readonly Stage[]): boolean;
  /** Why they are not done, each cause once. */
  troubles(): readonly string[];
  /** When the next one is due, monotonic ms; `undefined`: none waits for a time. */
  dueMs(): number | undefined;
  /** The next pass ignores the waits. */
  hurry(): void;
  /** HAProxy serves again: its stages that failed are due. */
  resumeHaproxy(): void;
};

export type EndedAttempt = { readonly stage: Stage; readonly ms: number; readonly isDone: boolean };

type Progress = {
  readonly is: 'done' | 'delayed' | 'slow' | 'late';
  /** The last one. */
  readonly failure?: StageFailure | undefined;
  readonly dueMs?: number;
};

export function makeStages(deps: {
  /** Whether HAProxy has needed longer than usual for its last answer, or does now. */
  readonly isHaproxySlow: () => boolean;
  /** Called at the end of each attempt, be it after that of its pass. */
  readonly onEnd: (attempt: EndedAttempt) => void;
  /** Called at the end of an attempt that has outlasted its pass. */
  readonly onLateEnd: () => void;
  readonly clock: Clock;
  readonly log: Log;
}): Stages {
  const { onEnd, onLateEnd, clock, log } = deps;
  const monotonic = (): number => clock.monotonic();
  const entries = new Map<Stage, StageEntry>();
  const entryOf = (stage: Stage): StageEntry => {
    const known = entries.get(stage);
    if (known !== undefined) return known;
    const backoff = makeBackoff(waitLimits.usual);
    const trouble = makeTrouble({ what: stages[stage].what, log, clock, level: 'error' });
    const entry: StageEntry = { stage, backoff, trouble, progress: { is: 'done' }, isLateAgain: false };
    entries.set(stage, entry);
    return entry;
  };
  const undone = (): readonly StageEntry[] => [...entries.values()].filter(({ progress }) => progress.is !== 'done');
  let isUrgent = false;
  const patience = makePatience(deps.isHaproxySlow);

  const isToolSlow = (of: Stage): boolean =>
    undone().some(({ stage, progress: { is } }) => is === 'slow' && stages[stage].tool === stages[of].tool);

  const fail = (entry: StageEntry, error: unknown): Shortfall => {
    const failure = { words: wordsOf(error), isDown: error instanceof ProxyDownError };
    entry.progress = { is: 'delayed', failure, dueMs: monotonic() + entry.backoff.next() };
    entry.trouble.failed(error);
    return { failure, wasTried: true };
  };

  /** A slow HAProxy is not asked again for what it has answered. Another stage may end late without end, if its tool is slow. */
  const waitAfterLate = (entry: StageEntry): number => {
    const waitMs = entry.isLateAgain && !isHaproxys(entry.stage) ? entry.backoff.next() : 0;
    entry.isLateAgain = true;
    return waitMs;
  };

  const perform = async (
    entry: StageEntry,
    work: () => Promise<unknown>,
    { changes, signal }: AttemptOptions,
  ): Promise<Shortfall | undefined> => {
    const { stage } = entry;
    const begunMs = monotonic();
    const ended = (isDone: boolean): void => {
      if (!signal.aborted) onEnd({ stage, ms: monotonic() - begunMs, isDone });
    };
    const attempt = work().then(
      () => ended(true),
      (error: unknown) => {
        ended(false);
        return { error };
      },
    );
    const usualMs = patience.ms(stage, changes);
    const patienceMs = isToolSlow(stage) ? Math.min(shortMs, usualMs) : usualMs;
    if (!(await settlesWithin(attempt, patienceMs, clock, signal))) {
      const { failure } = entry.progress;
      entry.progress = { is: 'slow', failure };
      void attempt.then((thrown) => {
        if (signal.aborted) return;
        patience.note(stage, { changes, tookMs: monotonic() - begunMs, isDone: thrown === undefined });
        if (thrown === undefined) entry.progress = { is: 'late', failure, dueMs: monotonic() + waitAfterLate(entry) };
        else fail(entry, thrown.error);
        onLateEnd();
      });
      return { failure, wasTried: true };
    }
    const thrown = await attempt;
    if (thrown !== undefined) {
      signal.throwIfAborted();
      return fail(entry, thrown.error);
    }
    entry.progress = { is: 'done' };
    entry.isLateAgain = false;
    patience.note(stage, { changes, tookMs: monotonic() - begunMs, isDone: true });
    entry.trouble.over();
    entry.backoff.reset();
    return undefined;
  };

  return {
    begin: () => {
      const nowMs = monotonic();
      const isDue = ({ stage, progress: { is, dueMs = Infinity } }: StageEntry): boolean =>
        (is === 'late' && (isUrgent || dueMs <= nowMs)) ||
        (is === 'delayed' && (isUrgent || stage === 'steering' || dueMs <= nowMs));
      const isSkipped = (entry: StageEntry): boolean =>
        entry.progress.is === 'slow' || (entry.progress.dueMs !== undefined && !isDue(entry));
      const areDue = undone().some(isDue);
      const skipped = new Set(undone().filter(isSkipped));
      isUrgent = false;
      /** Of the stages that were attempted. */
      const outcomes = new Map<StageEntry, Shortfall | undefined>();
      return {
        areDue,
        attempt: async (stage, work, options) => {
          const entry = entryOf(stage);
          if (skipped.has(entry)) return { failure: entry.progress.failure, wasTried: false };
          // A pass may consist of two: what is not done in the first one is not attempted in the second one.
          const outcome = outcomes.get(entry) ?? (await perform(entry, work, options));
          outcomes.set(entry, outcome);
          return outcome;
        },
        end: () => {
          for (const entry of undone())
            if (!skipped.has(entry) && !outcomes.has(entry)) {
              const { failure } = entry.progress;
              entry.progress = { is: 'delayed', failure };
            }
        },
      };
    },
    blockage: () => {
      const { is, failure } = entries.get('steering')?.progress ?? { is: 'done' };
      return is === 'done' ? undefined : { words: failure?.words };
    },
    areDone: () => undone().length === 0,
    isUnsettled: (...of) =>
      undone().some(({ stage, progress: { is } }) => of.includes(stage) && (is === 'slow' || is === 'late')),
    troubles: () => [
      ...new Set(undone().map(({ stage, progress: { failure } }) => failure?.words ?? slowWords(stage))),
    ],
    dueMs: () => {
      const steering = entries.get('steering')?.progress;
      if (steering?.is === 'slow') return undefined;
      const times = undone().flatMap(({ progress: { dueMs } }) => dueMs ?? []);
      return steering?.dueMs ?? (times.length === 0 ? undefined : Math.min(...times));
    },
    hurry: () => {
      isUrgent = true;
    },
    resumeHaproxy: () => {
      for (const entry of undone())
        if (isHaproxys(entry.stage) && entry.progress.is === 'delayed')
          entry.progress = { ...entry.progress, dueMs: monotonic() };
    },
  };
}

type StageEntry = {
  readonly stage: Stage;
  readonly backoff: Backoff;
  readonly trouble: Trouble;
  progress: Progress;
  /** The last attempt has ended late, too. */
  isLateAgain: boolean;
};

/** How long a pass waits for each stage. */
function makePatience(isHaproxySlow: () => boolean): {
  ms(stage: Stage, changes: number): number;
  /** An attempt has taken so long. */
  note(stage: Stage, attempt: { readonly changes: number; readonly tookMs: number; readonly isDone: boolean }): void;
} {
  const unusual = new Map<Stage, number>();
  return {
    ms: (stage, changes) => {
      const longer = unusual.get(stage);
      if (longer === 0 || (isHaproxys(stage) && isHaproxySlow())) return 0;
      return Math.max(longer ?? 0, patienceOf(stage, changes));
    },
    note: (stage, { changes, tookMs, isDone }) => {
      const leastMs = patienceOf(stage, changes);
      if (isHaproxys(stage) || tookMs < leastMs) unusual.delete(stage);
      else if (!isDone) unusual.set(stage, 0);
      else unusual.set(stage, Math.min(2 * Math.max(leastMs, unusual.get(stage) ?? 0), longestCallMs));
    },
  };
}
