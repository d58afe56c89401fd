import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';

const firstPauseMs = 1000;
const longestPauseMs = 60_000;

/**
 * Until `signal` aborts: calls `react` with every event of `watch`. When the watching ends or a reaction fails, it is
 * logged and, after a pause that grows from 1 s to 60 s, `react` is called without an event and `watch` started anew.
 */
export async function guard<Event>({
  watch,
  react,
  clock,
  log,
  signal,
}: {
  readonly watch: () => AsyncIterable<Event>;
  readonly react: (event?: Event) => Promise<unknown>;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}): Promise<void> {
  let pauseMs = firstPauseMs;
  let isFirst = true;
  while (!signal.aborted) {
    try {
      if (!isFirst) await react();
      isFirst = false;
      for await (const event of watch()) {
        await react(event);
        pauseMs = firstPauseMs;
      }
    } catch (error) {
      if (signal.aborted) return;
      log.warn({ err: error, pauseMs }, 'watching the kernel failed');
    }
    await clock.sleep(pauseMs, signal).catch(() => undefined); // aborted: the loop sees it
    pauseMs = Math.min(pauseMs * 2, longestPauseMs);
  }
}
