/** The limits of waits that grow, in ms. */
export type WaitLimits = { readonly firstMs: number; readonly mostMs: number };

/** Those of most retries. A place with others says why. */
export const waitLimits: Readonly<Record<'quick' | 'usual' | 'patient', WaitLimits>> = {
  /** Connections fail, or reach the wrong host, until it works; an attempt costs little. */
  quick: { firstMs: 100, mostMs: 5_000 },
  /** Changes wait until it works; an attempt may start programs. */
  usual: { firstMs: 200, mostMs: 30_000 },
  /** All that serves continues without it, and what has failed will often fail again: disks, watches, refused settings. */
  patient: { firstMs: 1_000, mostMs: 60_000 },
};

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
export function makeBackoff(options: WaitLimits & { readonly random?: () => number }): Backoff {
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
export function waitAfter(failures: number, { firstMs, mostMs }: WaitLimits): number {
  return Math.min(firstMs * 2 ** Math.min(failures - 1, 50), mostMs); // 2 ** failures stays finite
}

/** Whether this is the 1st, 2nd, 4th, 8th … time. */
export function isPowerOfTwo(times: number): boolean {
  return Number.isInteger(Math.log2(times));
}
