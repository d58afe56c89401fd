import { makeBackoff } from '../../../async/backoff.ts';
import { messageOf } from '../../../async/error-words.ts';
import type { Clock } from '../../../ports/clock.ts';
import { RuntimeError } from '../runtime/client.ts';

/** Growing waits between failed attempts, for all callers together. */
export type Pace = {
  /** Makes an attempt; until it is due, throws the error of the last one. */
  attempt(work: () => Promise<void>, signal: AbortSignal): Promise<void>;
  /** The next attempt waits. */
  failed(words: string, waitMs: number): void;
  /** Time until the next attempt is due, in ms. */
  inMs(): number;
};

/** New connections fail until HAProxy is started, and each start reads the whole table. */
export const retry = { firstMs: 250, mostMs: 10_000 };

export function makePace(clock: Clock): Pace {
  const backoff = makeBackoff(retry);
  let failure: { readonly words: string; readonly untilMs: number } | undefined;
  const inMs = (): number => Math.max(0, (failure?.untilMs ?? 0) - clock.monotonic());
  const failed = (words: string, waitMs: number): void => {
    failure = { words, untilMs: clock.monotonic() + waitMs };
  };
  return {
    inMs,
    failed,
    attempt: async (work, signal) => {
      if (failure !== undefined && inMs() > 0) throw new RuntimeError('absent', failure.words);
      try {
        await work();
      } catch (error) {
        signal.throwIfAborted();
        failed(messageOf(error), backoff.next());
        throw error;
      }
      backoff.reset();
      failure = undefined;
    },
  };
}
