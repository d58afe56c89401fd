import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../../ports/clock.ts';

/** The longest time of a timer: with a longer one Node ends it after a millisecond. */
const longestMs = 2 ** 31 - 1;

/** The machine's own time. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  processorMs: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  },
  // Node rejects with an error of its own, which has the reason as its cause.
  sleep: (ms, signal) => sleep(Math.min(ms, longestMs), undefined, { signal }).catch(() => signal.throwIfAborted()),
  // Not by AbortSignal.timeout and .any, which hold 1 kB until the time has passed: 20 MB in a start with 10,000 Services.
  deadline: (ms, outer) => {
    const controller = new AbortController();
    const relay = (): void => controller.abort(outer.reason);
    const late = (): void => controller.abort(new DOMException(`timed out after ${ms} ms`, 'TimeoutError'));
    const timer = setTimeout(late, Math.min(ms, longestMs));
    timer.unref();
    if (outer.aborted) relay();
    else outer.addEventListener('abort', relay, { once: true });
    return {
      signal: controller.signal,
      [Symbol.dispose]: () => {
        clearTimeout(timer);
        outer.removeEventListener('abort', relay);
      },
    };
  },
};
