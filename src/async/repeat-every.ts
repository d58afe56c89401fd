import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { makeTrouble } from './trouble.ts';

/**
 * Until `signal` aborts: does `work` at once, and again `everyMs` after each end. A failure is logged as a lasting trouble and costs
 * one turn.
 */
export async function repeatEvery(options: {
  readonly everyMs: number;
  /** Completes "… failed" in the log. */
  readonly what: string;
  readonly work: (signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}): Promise<never> {
  const { everyMs, what, work, clock, log, signal } = options;
  const trouble = makeTrouble({ what, log, clock });
  for (;;) {
    try {
      await work(signal);
      trouble.over();
    } catch (error) {
      signal.throwIfAborted();
      trouble.failed(error);
    }
    await clock.sleep(everyMs, signal);
  }
}
