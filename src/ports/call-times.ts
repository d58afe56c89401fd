/**
 * How long a call over the host may take: a pass waits for it that long, and then continues without it. The contract of each port
 * (`test/contract`) says that a tool that works makes a small change in that time.
 */
export const usualCallMs = 1_000;
/** The same of steering, without which nearly nothing else of a pass is done. */
export const steeringCallMs = 5_000;
/** A call ends with an error when its tool has not answered for so long. */
export const longestCallMs = 30_000;

/** How long a call that changes so many listeners may take: 1 ms for each of them, but at least `leastMs`. */
export function callMsFor(changes: number, leastMs: number = usualCallMs): number {
  return Math.max(leastMs, Math.min(changes, longestCallMs));
}
