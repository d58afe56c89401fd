/** Growing waits between attempts that fail. */
export type Backoff = {
  /** How long to wait before the next attempt, in ms: doubles with each call up to the maximum. */
  next(): number;
  /** After a success: the next wait is the first again. */
  reset(): void;
};

/**
 * `firstMs`, 2 × `firstMs`, 4 × `firstMs` … up to `mostMs`. With `random` each wait is up to half as long again, so
 * that several processes do not retry in step.
 */
export function makeBackoff(options: {
  readonly firstMs: number;
  readonly mostMs: number;
  readonly random?: () => number;
}): Backoff {
  const { random = () => 0 } = options;
  let failures = 0;
  return {
    next: () => waitAfter(++failures, options) * (1 + random() / 2),
    reset: () => {
      failures = 0;
    },
  };
}

/** The wait after so many failures, in ms. */
export function waitAfter(
  failures: number,
  { firstMs, mostMs }: { readonly firstMs: number; readonly mostMs: number },
): number {
  return Math.min(firstMs * 2 ** Math.min(failures - 1, 50), mostMs); // 2 ** failures stays finite
}
