import { makeBackoff, waitLimits } from '../../async/backoff.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';

/** After this time without a repair the next one counts as the first. */
const calmMs = 60_000;

/**
 * Must be called after each repair, with its description. Resolves after a wait that grows from 0.1 s to 5 s while
 * repairs follow each other, so that another program that keeps changing the kernel does not keep furiwake busy. Logs
 * the 1st, 2nd, 4th, 8th … repair in a row.
 */
export function makePacedRepairs(deps: {
  readonly clock: Clock;
  readonly log: Log;
}): (found: string, signal: AbortSignal) => Promise<void> {
  const { clock, log } = deps;
  const backoff = makeBackoff(waitLimits.quick);
  let repairs = 0;
  let repairedAtMs = -calmMs;
  return async (found, signal) => {
    if (clock.monotonic() - repairedAtMs >= calmMs) {
      repairs = 0;
      backoff.reset();
    }
    repairs++;
    if (Number.isInteger(Math.log2(repairs)))
      log.warn({ found, repairs }, 'external change to the nftables table detected and reverted');
    repairedAtMs = clock.monotonic();
    await clock.sleep(backoff.next(), signal);
  };
}
