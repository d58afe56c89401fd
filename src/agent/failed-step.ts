import { makeBackoff } from '../async/backoff.ts';
import { makeTrouble } from '../async/trouble.ts';
import type { Log } from '../ports/log.ts';
import type { PassFailure } from './pass.ts';

/** The step of a pass that failed as a whole. It is tried again after growing waits; the passes until then skip it. */
export type FailedStep = {
  failure(): PassFailure | undefined;
  /** Whether no pass can proceed without the step: all changes wait for it. */
  isBlocking(): boolean;
  /** When it is due again, monotonic ms; `undefined`: no step failed. */
  dueMs(): number | undefined;
  /** The next pass ignores the wait. */
  hurry(): void;
  /** A pass begins: the failure whose steps it skips, because their wait has not ended. */
  begin(nowMs: number): PassFailure | undefined;
  /** A pass that skipped the steps of `skipped` has ended, with this failure. */
  note(failure: PassFailure | undefined, skipped: PassFailure | undefined, nowMs: number): void;
};

export function makeFailedStep({
  log,
  monotonic,
}: {
  readonly log: Log;
  readonly monotonic: () => number;
}): FailedStep {
  const backoff = makeBackoff({ firstMs: 200, mostMs: 30_000 });
  const trouble = makeTrouble({ what: 'programming this host', log, monotonic, level: 'error' });
  let last: (PassFailure & { readonly dueMs: number }) | undefined;
  let isUrgent = false;

  const isBlocking = (): boolean => last?.stage === 'steering';

  return {
    failure: () => last,
    isBlocking,
    dueMs: () => last?.dueMs,
    hurry: () => {
      isUrgent = true;
    },
    begin: (nowMs) => {
      const isDue = isUrgent || isBlocking() || (last?.dueMs ?? 0) <= nowMs;
      isUrgent = false;
      return isDue ? undefined : last;
    },
    note: (failure, skipped, nowMs) => {
      if (failure !== undefined) {
        last = { ...failure, dueMs: nowMs + backoff.next() };
        trouble.failed(failure.error);
      } else if (skipped === undefined) {
        last = undefined;
        backoff.reset();
        trouble.over();
      }
    },
  };
}
