import { setTimeout as sleep } from 'node:timers/promises';
import { LabError } from '../errors.ts';

export type UntilOptions = {
  readonly signal: AbortSignal;
  /** Default 30,000 ms. */
  readonly timeoutMs?: number;
  /** Pause between two checks; default 50 ms. */
  readonly everyMs?: number;
};

/**
 * Polls until `check` returns a result.
 *
 * @param what completes the sentence "waited N s for …" of the error.
 * @throws {@link LabError} `TIMED_OUT`, with the last failure of `check` as its cause; a LabError of `check` at once.
 */
export async function until<T>(
  what: string,
  check: () => Promise<T | undefined | false>,
  { signal, timeoutMs = 30_000, everyMs = 50 }: UntilOptions,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  for (;;) {
    try {
      const found = await check();
      if (found !== undefined && found !== false) return found;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof LabError) throw error; // permanent
      cause = error;
    }
    if (performance.now() > deadline)
      throw new LabError('TIMED_OUT', `waited ${Math.round(timeoutMs / 1000)} s for ${what}`, undefined, { cause });
    await sleep(everyMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}
