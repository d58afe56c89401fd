import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { makeBackoff, waitLimits } from './backoff.ts';
import { makeTrouble } from './trouble.ts';

/** A watch that has lasted for this long works; one that prints a line and dies does not. */
const steadyMs = 60_000;

/**
 * Until `signal` aborts: calls `react` with every event of `watch`, one at a time. When the watch ends or fails, or a
 * reaction does, the watch restarts after a wait that grows from 1 s to 60 s. The first event of a watch must therefore
 * stand for all events that may have been missed. `what` completes "… failed" in the log, see `makeTrouble`.
 */
export async function keepWatching<Event>(options: {
  readonly what: string;
  readonly watch: () => AsyncIterable<Event>;
  readonly react: (event: Event) => void | Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { what, watch, react, clock, log, signal } = options;
  const trouble = makeTrouble({ what, log, clock });
  const backoff = makeBackoff(waitLimits.patient);
  const settle = async (until: AbortSignal): Promise<void> => {
    const startedMs = clock.monotonic();
    await clock.sleep(steadyMs, until);
    backoff.reset();
    trouble.over(startedMs);
  };
  while (!signal.aborted) {
    const ended = new AbortController();
    settle(AbortSignal.any([signal, ended.signal])).catch(() => undefined); // ended before it had lasted long enough
    try {
      for await (const event of watch()) await react(event);
      if (signal.aborted) return;
      trouble.failed('the watch ended');
    } catch (error) {
      if (signal.aborted) return;
      trouble.failed(error);
    } finally {
      ended.abort();
    }
    await clock.sleep(backoff.next(), signal).catch(() => undefined); // aborted: the loop's condition
  }
}
