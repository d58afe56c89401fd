/**
 * How long to wait after a round that took `tookMs`, so that rounds begin `periodMs` apart. At least half a period: a round that
 * takes long is not followed by another at once.
 */
export function restOfPeriod(periodMs: number, tookMs: number): number {
  return Math.max(periodMs / 2, periodMs - tookMs);
}
