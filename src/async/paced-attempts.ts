import { messageOf } from './error-words.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { makeAlarm } from './alarm.ts';
import { makeBackoff, type WaitLimits } from './backoff.ts';
import { makeTrouble } from './trouble.ts';

/** Work that several callers try, and whose failure is none of theirs. Not concurrently. */
export type PacedAttempts = {
  /** Does the work, unless it failed and the wait after that has not ended. Rejects only with the reason of `signal`. */
  attempt(signal: AbortSignal): Promise<void>;
  /** Why the last attempt failed; `undefined`: it succeeded, or there was none. */
  failure(): string | undefined;
};

/**
 * After a failure the work is due again after a wait that grows from `firstMs` to `mostMs`; then `ring` is called, until `lifetime`
 * aborts. `what` completes "… failed" in the log, see `makeTrouble`.
 */
export function makePacedAttempts(options: {
  readonly what: string;
  readonly work: (signal: AbortSignal) => Promise<void>;
  readonly retry: WaitLimits;
  readonly ring: () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly lifetime: AbortSignal;
}): PacedAttempts {
  const { what, work, retry, ring, clock, log, lifetime } = options;
  const trouble = makeTrouble({ what, log, clock });
  const backoff = makeBackoff(retry);
  const alarm = makeAlarm({ clock, signal: lifetime, ring });
  let failed: { readonly words: string; readonly dueMs: number } | undefined;

  return {
    attempt: async (signal) => {
      if (failed !== undefined && clock.monotonic() < failed.dueMs) return alarm.setAt(failed.dueMs); // a timer may be a little early
      try {
        await work(signal);
        failed = undefined;
        trouble.over();
        backoff.reset();
      } catch (error) {
        signal.throwIfAborted();
        trouble.failed(error);
        failed = { words: messageOf(error), dueMs: clock.monotonic() + backoff.next() };
        alarm.setAt(failed.dueMs);
      }
    },
    failure: () => failed?.words,
  };
}
