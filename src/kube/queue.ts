import type { Clock, Random } from '../ports/clock.ts';
import type { Metrics } from '../ports/metrics.ts';
import { makeAlarm } from '../async/alarm.ts';
import { RetryError, TerminalError } from './errors.ts';

/** What a run that succeeded wants: nothing, or to be run again after a while. */
export type Outcome = { readonly requeueAfterMs?: number } | undefined;

export type Queue<Key extends string> = {
  /** Runs the key as soon as there is room, also while its backoff is pending; once more when it is running now. */
  add(key: Key): void;
  /** Runs the key after `ms`, or earlier if it was to run earlier. */
  addAfter(key: Key, ms: number): void;
  /** Keys that wait to run now; those in backoff are not counted. */
  readonly depth: number;
  /** Resolves after `signal` has aborted, when the last run has ended. */
  readonly drained: Promise<void>;
};

export type QueueOptions<Key extends string> = {
  /** Label in metrics. */
  readonly name: string;
  /**
   * Works on one key. What it throws brings the key back: `RetryError` after exactly its time, `TerminalError` not at
   * all, anything with a `retryAfterMs` not before that, the rest after its backoff.
   */
  readonly run: (key: Key, signal: AbortSignal) => Promise<Outcome>;
  readonly concurrency: number;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  /** Backoff of a failing key: `baseMs`·2ⁿ up to `maxMs`, and up to half as much again by chance. Defaults 5 and 60,000 ms. */
  readonly baseMs?: number;
  readonly maxMs?: number;
  /** Told of each failure, with the number of those in a row; what it throws is thrown away. */
  readonly onError: (key: Key, error: unknown, attempt: number) => void;
};

/** Close due times are served by one wake-up, so that ten thousand keys in backoff are not ten thousand timers. */
const wakeStepMs = 5;

/**
 * A work queue keyed by object, as client-go's: the same key never runs twice at once; a key added while it runs, runs
 * once more afterwards; a key that fails comes back with exponential backoff. First come, first served.
 */
export function makeQueue<Key extends string>({
  name,
  run,
  concurrency,
  signal,
  clock,
  random,
  metrics,
  baseMs = 5,
  maxMs = 60_000,
  onError,
}: QueueOptions<Key>): Queue<Key> {
  const ready = new Set<Key>();
  const running = new Set<Key>();
  const dirty = new Set<Key>(); // added again while running
  const delayed = new Map<Key, number>(); // key → due time, monotonic ms
  const failures = new Map<Key, number>();
  const drained = Promise.withResolvers<void>();
  const depthGauge = metrics.gauge('furiwake_queue_depth', 'Keys that wait to be worked on.', ['queue']);
  const errorCounter = metrics.counter('furiwake_reconcile_errors_total', 'Runs that failed.', ['queue']);

  const depth = (): number => ready.size + dirty.size;

  const wake = (): void => {
    const now = clock.monotonic();
    let next = Number.POSITIVE_INFINITY;
    for (const [key, due] of delayed) {
      if (due <= now) add(key);
      else next = Math.min(next, due);
    }
    if (next < Number.POSITIVE_INFINITY) alarm.setAt(Math.max(next, now + wakeStepMs));
  };
  const alarm = makeAlarm({ clock, signal, ring: wake });

  const addAfter = (key: Key, ms: number): void => {
    if (signal.aborted) return;
    const due = Math.min(clock.monotonic() + ms, delayed.get(key) ?? Number.POSITIVE_INFINITY);
    delayed.set(key, due);
    alarm.setAt(due);
  };

  const add = (key: Key): void => {
    delayed.delete(key);
    if (running.has(key)) dirty.add(key);
    else ready.add(key);
    pump();
  };

  const pump = (): void => {
    for (const key of ready) {
      if (running.size >= concurrency || signal.aborted) break;
      ready.delete(key);
      running.add(key);
      void work(key);
    }
    depthGauge.set(depth(), { queue: name });
    if (signal.aborted && running.size === 0) drained.resolve();
  };

  const work = async (key: Key): Promise<void> => {
    try {
      const outcome = await run(key, signal);
      failures.delete(key);
      if (outcome?.requeueAfterMs !== undefined) addAfter(key, outcome.requeueAfterMs);
    } catch (error) {
      if (!signal.aborted) fail(key, error);
    } finally {
      running.delete(key);
      if (dirty.delete(key)) ready.add(key);
      pump();
    }
  };

  const fail = (key: Key, error: unknown): void => {
    const attempt = (failures.get(key) ?? 0) + 1;
    errorCounter.add(1, { queue: name });
    if (error instanceof RetryError) addAfter(key, error.afterMs);
    else if (error instanceof TerminalError) failures.delete(key);
    else {
      failures.set(key, attempt);
      const backoffMs = Math.min(baseMs * 2 ** (attempt - 1), maxMs) * (1 + random() / 2);
      addAfter(key, Math.max(backoffMs, wishOf(error)));
    }
    try {
      onError(key, error, attempt);
    } catch {
      // Telling of a failure must not become one: the key has its next run already.
    }
  };

  signal.addEventListener('abort', pump, { once: true });
  pump();
  return {
    add,
    addAfter,
    get depth() {
      return depth();
    },
    drained: drained.promise,
  };
}

/** The server's own wish, where the error carries one (`KubeError` after a 429). */
function wishOf(error: unknown): number {
  return error instanceof Error && 'retryAfterMs' in error && typeof error.retryAfterMs === 'number'
    ? error.retryAfterMs
    : 0;
}
