import type { Clock } from '../ports/clock.ts';

/** Aborts after too long a silence. */
export type Watchdog = Disposable & {
  /** Aborts with the outer signal, or with the reason from `onSilence`. */
  readonly signal: AbortSignal;
  /** Restarts the silence: it may last `limitMs` from now on. */
  touch(limitMs: number): void;
};

/**
 * Limits the silence within a longer piece of work, and its total time. Uses one timer at a time, however often it is
 * touched. `maxMs` counts from now and is not extended by `touch`.
 */
export function makeWatchdog(options: {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly limitMs: number;
  readonly maxMs: number;
  readonly onSilence: (silentMs: number) => Error;
}): Watchdog {
  const { clock, signal, limitMs, maxMs, onSilence } = options;
  const cut = new AbortController();
  const disposed = new AbortController();
  const endsAt = clock.monotonic() + maxMs;
  let touchedAt = clock.monotonic();
  let limit = limitMs;

  const guard = async (): Promise<void> => {
    const until = AbortSignal.any([signal, disposed.signal]);
    while (!until.aborted) {
      const now = clock.monotonic();
      const leftMs = Math.min(touchedAt + limit, endsAt) - now;
      if (leftMs <= 0) return cut.abort(onSilence(now - touchedAt));
      await clock.sleep(leftMs, until).catch(() => undefined); // rejects only when `until` aborts: the loop's condition
    }
  };
  void guard();

  return {
    signal: AbortSignal.any([signal, cut.signal]),
    touch: (limitNow) => {
      touchedAt = clock.monotonic();
      limit = limitNow;
    },
    [Symbol.dispose]: () => disposed.abort(),
  };
}
