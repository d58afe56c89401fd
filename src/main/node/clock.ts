import { setTimeout as sleep } from 'node:timers/promises';
import { linkTo } from '../../async/abort.ts';
import type { Clock } from '../../ports/clock.ts';

/** As a timer takes it: with a longer time Node would end it after a millisecond, with a negative one print a warning. */
const timerMs = (ms: number): number => Math.min(Math.max(ms, 0), 2 ** 31 - 1);

/** The machine's own time. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  processorMs: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  },
  // Node rejects with an error of its own, which has the reason as its cause.
  sleep: (ms, signal) => sleep(timerMs(ms), undefined, { signal }).catch(() => signal.throwIfAborted()),
  // Not by AbortSignal.timeout and .any, which hold 1 kB until the time has passed: 20 MB in a start with 10,000 Services.
  deadline: (ms, outer) => {
    const linked = linkTo(outer);
    const late = (): void => linked.abort(new DOMException(`timed out after ${ms} ms`, 'TimeoutError'));
    const timer = setTimeout(late, timerMs(ms));
    timer.unref();
    return {
      signal: linked.signal,
      [Symbol.dispose]: () => {
        clearTimeout(timer);
        linked[Symbol.dispose]();
      },
    };
  },
};
