/** Time, so that tests run in virtual time. Nothing outside the adapter reads a clock or sets a timer. */
export type Clock = {
  /** Wall clock, ms since the epoch: for what users see and for Kubernetes timestamps. */
  now(): number;
  /** Never goes backwards, ms from an arbitrary start: for durations and deadlines. */
  monotonic(): number;
  /** Resolves after `ms`; rejects with the signal's reason as soon as `signal` aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** A signal that aborts with a `TimeoutError` after `ms`, or with `signal`. */
  deadline(ms: number, signal: AbortSignal): AbortSignal;
};

/** Chance in [0, 1), so that a seed replays a run. */
export type Random = () => number;
