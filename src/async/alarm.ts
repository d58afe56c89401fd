import type { Clock } from '../ports/clock.ts';

/** One timer for many due times: rings at the earliest of them. */
export type Alarm = {
  /** Rings at `atMs` (monotonic), or earlier if it is already set to an earlier time. */
  setAt(atMs: number): void;
};

/** `ring` is called at the set time, then the alarm is off until it is set again. Silent after `signal` aborts. */
export function makeAlarm(options: {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly ring: () => void;
}): Alarm {
  const { clock, signal, ring } = options;
  let due = Number.POSITIVE_INFINITY;
  let pending = new AbortController();

  const sleepUntil = async (atMs: number): Promise<void> => {
    const mine = new AbortController();
    pending.abort();
    pending = mine;
    due = atMs;
    try {
      await clock.sleep(Math.max(0, atMs - clock.monotonic()), AbortSignal.any([signal, mine.signal]));
    } catch {
      return; // set to an earlier time, or shut down
    }
    due = Number.POSITIVE_INFINITY;
    ring();
  };

  return {
    setAt: (atMs) => {
      if (!signal.aborted && atMs < due) void sleepUntil(atMs);
    },
  };
}
