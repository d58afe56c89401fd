import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { systemClock } from '../../src/main/node/clock.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { untilIdle } from './event-loop.ts';

/** Time that stands still until a test advances it. */
export type VirtualClock = Clock & {
  /** Advances time by `ms`: sleepers wake in the order of their times, and their work is awaited. */
  advance(ms: number): Promise<void>;
  /** Advances time to the next sleeper until `promise` has settled. Not for promises that wait for a real socket. */
  drive<T>(promise: Promise<T>): Promise<T>;
  /** The process uses so much processor time, at no time. */
  work(ms: number): void;
  /** Moves only the wall clock, like a time server or an administrator. */
  setWallClock(byMs: number): void;
  /** Number of sleepers. */
  readonly sleepers: number;
  /** Resolves as soon as there is a sleeper for at least `minMs` and at most `maxMs`. */
  untilSleeping(minMs: number, maxMs?: number): Promise<void>;
};

/** `sleepMs`: how long a sleeper sleeps; a deadline has none. */
type Timer = { readonly atMs: number; readonly sleepMs?: number; readonly ring: () => void };

/** More timers at the same moment than any test has sleepers. */
const mostAtOnce = 10_000;

/** A `Clock` for tests: starts at `startMs` (default 2026-01-01T00:00:00Z), monotonic time at 0. */
export function virtualClock(startMs: number = Date.UTC(2026, 0, 1)): VirtualClock {
  let elapsedMs = 0;
  let wallOffsetMs = 0;
  let workedMs = 0;
  const timers = new Set<Timer>();
  const watchers = new Set<(sleepMs: number) => void>();

  const start = (ms: number, rest: Omit<Timer, 'atMs'>): Timer => {
    const timer = { atMs: elapsedMs + ms, ...rest };
    timers.add(timer);
    return timer;
  };
  const sleeping = (): Timer[] => [...timers].filter(({ sleepMs }) => sleepMs !== undefined);

  const next = (): Timer | undefined => {
    let first: Timer | undefined;
    for (const timer of timers) if (first === undefined || timer.atMs < first.atMs) first = timer;
    return first;
  };

  let ringsAtOnce = 0;
  const ring = async (timer: Timer): Promise<void> => {
    timers.delete(timer);
    ringsAtOnce = timer.atMs > elapsedMs ? 0 : ringsAtOnce + 1;
    if (ringsAtOnce > mostAtOnce) throw new Error(`a loop does not wait: ${mostAtOnce} timers at ${elapsedMs} ms`);
    elapsedMs = Math.max(elapsedMs, timer.atMs);
    timer.ring();
    await untilIdle(); // the woken code runs until it waits again
  };

  return {
    now: () => startMs + wallOffsetMs + elapsedMs,
    monotonic: () => elapsedMs,
    processorMs: () => workedMs,
    work: (ms) => {
      workedMs += ms;
    },
    setWallClock: (byMs) => {
      wallOffsetMs += byMs;
    },
    get sleepers() {
      return sleeping().length;
    },
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        if (ms <= 0) return resolve();
        const stop = (): void => {
          timers.delete(timer);
          reject(signal.reason);
        };
        const wake = (): void => {
          signal.removeEventListener('abort', stop);
          resolve();
        };
        const timer = start(ms, { sleepMs: ms, ring: wake });
        signal.addEventListener('abort', stop, { once: true });
        for (const tell of watchers) tell(ms);
      }),
    deadline: (ms, signal) => {
      const controller = new AbortController();
      const relay = (): void => {
        timers.delete(timer);
        controller.abort(signal.reason);
      };
      const late = (): void => controller.abort(new DOMException('the deadline has passed', 'TimeoutError'));
      const timer = start(ms, { ring: late });
      if (signal.aborted) relay();
      else signal.addEventListener('abort', relay, { once: true });
      return {
        signal: controller.signal,
        [Symbol.dispose]: () => {
          timers.delete(timer);
          signal.removeEventListener('abort', relay);
        },
      };
    },
    advance: async (ms) => {
      const untilMs = elapsedMs + ms;
      await untilIdle();
      for (let timer = next(); timer !== undefined && timer.atMs <= untilMs; timer = next()) await ring(timer);
      elapsedMs = untilMs;
      await untilIdle();
    },
    drive: async (promise) => {
      let isSettled = false;
      const settled = promise.finally(() => {
        isSettled = true;
      });
      settled.catch(() => undefined); // the caller gets it from `promise` below
      for (;;) {
        await untilIdle();
        if (isSettled) return promise;
        const timer = next();
        if (timer !== undefined) await ring(timer);
      }
    },
    untilSleeping: (minMs, maxMs = Number.POSITIVE_INFINITY) =>
      new Promise((resolve) => {
        const tell = (sleepMs: number): void => {
          if (!(sleepMs >= minMs && sleepMs <= maxMs)) return;
          watchers.delete(tell);
          resolve();
        };
        watchers.add(tell);
        for (const { sleepMs = Number.NaN } of sleeping()) tell(sleepMs);
      }),
  };
}

/**
 * Real time, `factor` times as fast: for tests that also wait for real sockets. `deadline` runs no faster than ten
 * times, so that a busy machine does not look like a dead server.
 */
export function fastClock(factor: number, startMs: number = Date.UTC(2026, 0, 1)): Clock {
  const startedAt = performance.now();
  const monotonic = (): number => (performance.now() - startedAt) * factor;
  return {
    now: () => startMs + monotonic(),
    monotonic,
    processorMs: () => systemClock.processorMs(),
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const stop = (): void => {
          clearTimeout(timer);
          reject(signal.reason);
        };
        const wake = (): void => {
          signal.removeEventListener('abort', stop);
          resolve();
        };
        const timer = setTimeout(wake, Math.min(ms / factor, 2 ** 31 - 1));
        signal.addEventListener('abort', stop, { once: true });
      }),
    deadline: (ms, signal) => systemClock.deadline(ms / Math.min(factor, 10), signal),
  };
}

/** Random numbers in [0, 1): the same again for the same seed. */
export function seededRandom(seed: number): () => number {
  const generator = xoroshiro128plus(seed);
  return () => uniformFloat64(generator);
}
