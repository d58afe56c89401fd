import { makeAlarm } from '../async/alarm.ts';
import { type Backoff, makeBackoff } from '../async/backoff.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Metrics } from '../ports/metrics.ts';
import { makeTurns } from './turns.ts';

/** What a successful run asks for: nothing, or another run after some time. */
export type Requeue = { readonly requeueAfterMs?: number } | undefined;

export type Queue<Key extends string> = {
  /** Runs the key as soon as there is room, even while its backoff is pending; if it is running, it runs once more. */
  add(key: Key): void;
  /** Resolves after `signal` has aborted, when the last run has ended. */
  readonly drained: Promise<void>;
};

export type QueueOptions<Key extends string> = {
  /** Label in metrics. */
  readonly name: string;
  /**
   * Processes one key. After an exception the key runs again after its backoff, and not before the `retryAfterMs` of the error, if it
   * has one.
   */
  readonly run: (key: Key, signal: AbortSignal) => Promise<Requeue>;
  /** How many keys of one group run at a time, if it is alone; of all groups, twice as many at most. */
  readonly concurrency: number;
  /** Keys of one group may all be slow together, as Services of a namespace whose webhook does not answer. */
  readonly groupOf: (key: Key) => string;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  /** Called for each failure, with the number of failures in a row; its exceptions are ignored. */
  readonly onError: (key: Key, error: unknown, attempt: number) => void;
};

/**
 * So many runs begin in one turn of the event loop, and none after so much time: ten thousand keys with nothing to do hold up no
 * other work, nor do twenty that each take long, as Services with a thousand ports.
 */
const turn = { mostRuns: 100, mostMs: 10 };
/** Between the runs of a failing key: begins as client-go's, and a Service is left alone for a minute at most. */
const backoffMs = { firstMs: 5, mostMs: 60_000 };
/** Due times close together share one wake-up, so that ten thousand keys in backoff are not ten thousand timers. */
const wakeStepMs = 5;

/**
 * A work queue keyed by object, as client-go's: a key never runs twice at the same time; a key added while it runs is run
 * once more afterwards; a failed key is repeated with exponential backoff. First in, first out in each group, and the groups in turn.
 *
 * A group never takes the last places: it leaves as many free as it has, so that others run while all of its own hang.
 */
export function makeQueue<Key extends string>({
  name,
  run,
  concurrency,
  groupOf,
  signal,
  clock,
  random,
  metrics,
  onError,
}: QueueOptions<Key>): Queue<Key> {
  const ready = makeTurns(groupOf);
  const running = new Set<Key>();
  const runningOf = new Map<string, number>(); // by group
  const dirty = new Set<Key>(); // added again while running
  const delayed = new Map<Key, number>(); // key → due time, monotonic ms
  const failures = new Map<Key, { attempts: number; readonly backoff: Backoff }>();
  const drained = Promise.withResolvers<void>();
  const depthGauge = metrics.gauge('furiwake_queue_depth', 'Keys that are waiting to be processed.', ['queue']);
  const errorCounter = metrics.counter('furiwake_reconcile_errors_total', 'Runs that failed.', ['queue']);

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
    const due = clock.monotonic() + ms;
    delayed.set(key, due);
    alarm.setAt(due);
  };

  const add = (key: Key): void => {
    delayed.delete(key);
    if (running.has(key)) dirty.add(key);
    else ready.add(key);
    pump();
  };

  const countRun = (key: Key, by: 1 | -1): void => {
    const group = groupOf(key);
    const count = (runningOf.get(group) ?? 0) + by;
    if (count === 0) runningOf.delete(group);
    else runningOf.set(group, count);
  };

  let runs = 0;
  /** When the first of them began, monotonic ms. */
  let sinceMs = 0;
  const nextTurn = (): void => {
    runs = 0;
    pump();
  };

  const pump = (): void => {
    const mayRun = (): boolean => runs === 0 || (runs < turn.mostRuns && clock.monotonic() - sinceMs < turn.mostMs);
    while (mayRun() && !signal.aborted) {
      const free = 2 * concurrency - running.size;
      const key = free > 0 ? ready.take((group) => (runningOf.get(group) ?? 0) < free) : undefined;
      if (key === undefined) break;
      if (runs++ === 0) {
        sinceMs = clock.monotonic();
        setImmediate(nextTurn);
      }
      running.add(key);
      countRun(key, 1);
      void work(key);
    }
    depthGauge.set(ready.size() + dirty.size, { queue: name }); // without those in backoff
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
      countRun(key, -1);
      if (dirty.delete(key)) add(key);
      else pump();
    }
  };

  const fail = (key: Key, error: unknown): void => {
    errorCounter.add(1, { queue: name });
    const failure = failures.get(key) ?? { attempts: 0, backoff: makeBackoff({ ...backoffMs, random }) };
    failures.set(key, failure);
    failure.attempts += 1;
    addAfter(key, Math.max(failure.backoff.next(), retryAfterMsOf(error)));
    try {
      onError(key, error, failure.attempts);
    } catch {
      // A failing report must not have an effect: the next run is already scheduled.
    }
  };

  signal.addEventListener('abort', pump, { once: true });
  pump();
  return {
    add,
    drained: drained.promise,
  };
}

/** The wait that the server requested, if the error has one (`KubeError` after a 429). */
function retryAfterMsOf(error: unknown): number {
  return error instanceof Error && 'retryAfterMs' in error && typeof error.retryAfterMs === 'number'
    ? error.retryAfterMs
    : 0;
}
