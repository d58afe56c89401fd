/** Writes of conditions that a Service may still have at once, at a time (monotonic ms). */
export type ConditionPace = { readonly left: number; readonly atMs: number };

/** As many at once, and then one in this time: a LAN that flaps would cost two writes for each Service each time. */
const most = 6;
const everyMs = 10_000;

/**
 * The pace after one more write of conditions now, or how long that must wait. `before`: `undefined` without an earlier write.
 * `mayWait`: false if a condition becomes False, for a Service must not say that it is served when it is not. An address that changes
 * never waits.
 */
export function paceAfter(
  before: ConditionPace | undefined,
  mayWait: boolean,
  nowMs: number,
): ConditionPace | { readonly waitMs: number } {
  const left = before === undefined ? most : Math.min(most, before.left + (nowMs - before.atMs) / everyMs);
  if (left < 1 && mayWait) return { waitMs: Math.ceil((1 - left) * everyMs) };
  return { left: Math.max(0, left - 1), atMs: nowMs };
}
