import type { Clock } from '../ports/clock.ts';
import { unlessAborted } from './abort.ts';

/** A latch with one waiter: any number of `set` calls while the waiter is busy cause one wake-up. */
export type Latch = {
  set(): void;
  /**
   * Resolves at once if the latch was set since the last wait, otherwise when it is set; rejects when `signal` aborts.
   */
  wait(signal: AbortSignal): Promise<void>;
};

export function makeLatch(): Latch {
  let isSet = false;
  let wake: (() => void) | undefined;
  return {
    set: () => {
      isSet = true;
      wake?.();
    },
    wait: async (signal) => {
      signal.throwIfAborted();
      if (!isSet) {
        const set = Promise.withResolvers<void>();
        wake = set.resolve;
        await unlessAborted(set.promise, signal);
      }
      wake = undefined;
      isSet = false;
    },
  };
}

/** Like `latch.wait`, but also resolves after `ms`. Resolves with whether the latch was set. */
export async function waitAtMost(ms: number, latch: Latch, clock: Clock, signal: AbortSignal): Promise<boolean> {
  using deadline = clock.deadline(Math.max(0, ms), signal);
  return await latch.wait(deadline.signal).then(
    () => true,
    () => {
      signal.throwIfAborted();
      return false;
    },
  );
}
