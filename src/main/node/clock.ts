import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../../ports/clock.ts';

/** The machine's own time. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal }),
  // Not by AbortSignal.timeout and .any, which hold 1 kB until the time has passed: 20 MB in a start with 10,000 Services.
  deadline: (ms, outer) => {
    const controller = new AbortController();
    const relay = (): void => controller.abort(outer.reason);
    const timer = setTimeout(() => controller.abort(new DOMException(`timed out after ${ms} ms`, 'TimeoutError')), ms);
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
