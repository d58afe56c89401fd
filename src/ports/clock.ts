/** A signal that aborts at its time; after disposal it holds no resources. */
export type Deadline = Disposable & { readonly signal: AbortSignal };

/** Time, so that tests run in virtual time. Only the adapter reads a clock or sets a timer. */
export type Clock = {
  /** Wall clock, ms since the epoch: for what users see and for Kubernetes timestamps. */
  now(): number;
  /** Never goes backwards, ms from an arbitrary start: for durations and deadlines. */
  monotonic(): number;
  /** The processor time that this process has used, in ms; without the programs that it has started. */
  processorMs(): number;
  /** Resolves after `ms`; rejects with the signal's reason as soon as `signal` aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Aborts with a `TimeoutError` after `ms`, or with `outer`. Dispose of it when the work is done (`using`). */
  deadline(ms: number, outer: AbortSignal): Deadline;
};

/** A random number in [0, 1), so that a seed replays a run. */
export type Random = () => number;
