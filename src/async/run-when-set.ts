import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { makeBackoff, type WaitLimits } from './backoff.ts';
import type { Latch } from './latch.ts';
import { makeTrouble } from './trouble.ts';

/**
 * Runs `work` whenever `due` is set, until `signal` aborts. After a failure it runs again after a wait that grows from
 * `firstMs` to `mostMs`. `what` completes "… failed" in the log, see `makeTrouble`.
 */
export async function runWhenSet(options: {
  readonly what: string;
  readonly due: Latch;
  readonly work: () => Promise<void>;
  readonly retry: WaitLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly level?: 'warn' | 'error';
  readonly signal: AbortSignal;
}): Promise<never> {
  const { what, due, work, retry, clock, log, level = 'warn', signal } = options;
  const trouble = makeTrouble({ what, log, clock, level });
  const backoff = makeBackoff(retry);
  for (;;) {
    await due.wait(signal);
    try {
      await work();
      trouble.over();
      backoff.reset();
    } catch (error) {
      signal.throwIfAborted();
      trouble.failed(error);
      await clock.sleep(backoff.next(), signal);
      due.set();
    }
  }
}
