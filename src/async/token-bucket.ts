import type { Clock } from '../ports/clock.ts';

/**
 * Allows `burst` at once and `perSecond` in the long run. `take` resolves when a token is free, in any order of
 * callers.
 */
export function makeTokenBucket(options: {
  readonly clock: Clock;
  readonly burst: number;
  readonly perSecond: number;
}): { take(signal: AbortSignal): Promise<void> } {
  const { clock, burst, perSecond } = options;
  let tokens = burst;
  let countedAt = clock.monotonic();
  return {
    take: async (signal) => {
      const now = clock.monotonic();
      tokens = Math.min(burst, tokens + ((now - countedAt) / 1000) * perSecond);
      countedAt = now;
      tokens -= 1; // may be negative: waiting callers have reserved tokens
      if (tokens < 0) await clock.sleep((-tokens / perSecond) * 1000, signal);
    },
  };
}
