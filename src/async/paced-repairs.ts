import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { makeBackoff, waitLimits } from './backoff.ts';

/** After this time without a repair the next one counts as the first. */
const calmMs = 60_000;

/**
 * Must be called after each repair of `what`, with fields that describe it. Returns how long to wait before the next one, in ms: from
 * 0.1 s to 5 s while repairs follow each other, so that another program that keeps changing the host does not keep furiwake
 * busy. Logs the 1st, 2nd, 4th, 8th … repair in a row.
 */
export function makePacedRepairs(deps: {
  readonly what: string;
  readonly clock: Clock;
  readonly log: Log;
}): (found: Readonly<Record<string, string | number>>) => number {
  const { what, clock, log } = deps;
  const backoff = makeBackoff(waitLimits.quick);
  let repairs = 0;
  let repairedAtMs = -calmMs;
  return (found) => {
    if (clock.monotonic() - repairedAtMs >= calmMs) {
      repairs = 0;
      backoff.reset();
    }
    repairs++;
    if (Number.isInteger(Math.log2(repairs)))
      log.warn({ ...found, repairs }, `external change to ${what} detected and reverted`);
    repairedAtMs = clock.monotonic();
    return backoff.next();
  };
}
