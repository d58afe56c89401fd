import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { makeAlarm } from './alarm.ts';
import { isPowerOfTwo, waitAfter, waitLimits } from './backoff.ts';

/** After this time without a repair the next one counts as the first. */
const calmMs = 60_000;
/** From this repair in a row on, another program is at work, and not an administrator. */
const manyRepairs = 3;
/** The shortest wait that repairs in a row reach, and what they take at most: a quarter of the time. */
const shortMs = 500;
const waitShare = 3;

/**
 * Must be called after each repair of `what`, with fields that describe it and how long it took. Returns how long to wait before the next
 * one, in ms, so that another program that keeps changing the host does not keep furiwake busy: from 0.1 s on, while repairs follow each
 * other, up to 0.5 s for cheap ones and 5 s for those of unknown cost. Logs the 1st, 2nd, 4th, 8th … repair in a row, and
 * that there has been none for a minute; between the two, `furiwake_failing` has it until `signal` aborts.
 */
export function makePacedRepairs(deps: {
  readonly what: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal?: AbortSignal;
}): (found: Readonly<Record<string, string | number>>, tookMs?: number) => number {
  const { what, clock, log, signal = AbortSignal.abort() } = deps;
  let repairs = 0;
  let repairedAtMs = -calmMs;
  let isMany = false;
  const calmDown = (): void => {
    const atMs = repairedAtMs + calmMs;
    if (clock.monotonic() < atMs) return alarm.setAt(atMs);
    isMany = false;
    log.failing(task, -1);
    log.info({ repairs }, `no external change to ${what} for ${calmMs / 1_000} s`);
  };
  const alarm = makeAlarm({ clock, signal, ring: calmDown });
  const task = `reverting external changes to ${what}`;
  return (found, tookMs = Infinity) => {
    if (clock.monotonic() - repairedAtMs >= calmMs) repairs = 0;
    repairs++;
    if (isPowerOfTwo(repairs)) log.warn({ ...found, repairs }, `external change to ${what} detected and reverted`);
    repairedAtMs = clock.monotonic();
    if (repairs >= manyRepairs && !isMany && !signal.aborted) {
      isMany = true;
      log.failing(task, 1);
      alarm.setAt(repairedAtMs + calmMs);
    }
    const limitMs = Math.max(shortMs, tookMs * waitShare);
    return Math.min(limitMs, waitAfter(repairs, waitLimits.quick));
  };
}
