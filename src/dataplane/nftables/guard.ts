import { makeBackoff } from '../../async/backoff.ts';
import { makeTrouble } from '../../async/trouble.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';

/** After this long without a failure, or a repair, the next one counts as the first. */
const calmMs = 60_000;

/**
 * Until `signal` aborts: calls `react` with every event of `watch`; it resolves with what it repaired, if anything.
 *
 * - When the watching ends or a reaction fails, both start anew after a pause that grows from 1 s to 60 s, `react` first,
 *   without an event.
 * - After a repair the next reaction waits, first 0.1 s, at last 5 s while repairs follow each other: another program that
 *   keeps changing the kernel must not make this one busy. Repairs are logged at the 1st, 2nd, 4th, 8th … in a row.
 */
export async function guard<Event>({
  watch,
  react,
  clock,
  log,
  signal,
}: {
  readonly watch: () => AsyncIterable<Event>;
  readonly react: (event?: Event) => Promise<string | undefined>;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}): Promise<void> {
  const trouble = makeTrouble({
    what: 'watching and repairing the nftables table',
    log,
    monotonic: () => clock.monotonic(),
  });
  const failures = makeBackoff({ firstMs: 1_000, mostMs: 60_000 });
  const pauses = makeBackoff({ firstMs: 100, mostMs: 5_000 });
  let repairs = 0;
  let repairedAtMs = -calmMs;

  const reactPaced = async (event?: Event): Promise<void> => {
    const found = await react(event);
    if (found === undefined) return;
    if (clock.monotonic() - repairedAtMs >= calmMs) {
      repairs = 0;
      pauses.reset();
    }
    repairs++;
    if (Number.isInteger(Math.log2(repairs)))
      log.warn({ found, repairs }, 'external change to the nftables table detected and reverted');
    repairedAtMs = clock.monotonic();
    await clock.sleep(pauses.next(), signal);
  };

  for (let isFirst = true; !signal.aborted; isFirst = false) {
    const startedAtMs = clock.monotonic();
    const isCalm = (): boolean => clock.monotonic() - startedAtMs >= calmMs;
    let failure: unknown = new Error('the program that watches has ended');
    try {
      if (!isFirst) await reactPaced();
      for await (const event of watch()) {
        await reactPaced(event);
        if (isCalm()) trouble.over();
      }
    } catch (error) {
      failure = error;
    }
    if (signal.aborted) return;
    if (isCalm()) {
      trouble.over();
      failures.reset();
    }
    trouble.failed(failure);
    await clock.sleep(failures.next(), signal).catch(() => undefined); // aborted: the loop sees it
  }
}
