import { waitLimits } from '../async/backoff.ts';
import { makeLatch } from '../async/latch.ts';
import { runWhenSet } from '../async/run-when-set.ts';
import type { Clock } from '../ports/clock.ts';
import type { Placement } from '../ports/placement.ts';
import type { Log } from '../ports/log.ts';

/**
 * The lifetime of the addresses that furiwake added. Without an extension the kernel removes them, so that a host whose
 * furiwake is dead or hangs does not answer for an address that another host has taken over.
 */
export type AddressLifetime = {
  /** See `Placement.keepUntil`. Returns at once. */
  keepUntil(untilMs: number | undefined): void;
  /** Why the kernel has removed the addresses, though this host needs and may keep them; `undefined`: it has not. */
  trouble(): string | undefined;
  /** Sets the lifetime in the kernel, until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

export function makeAddressLifetime({
  placement,
  areNeeded,
  clock,
  log,
}: {
  readonly placement: Pick<Placement, 'keepUntil'>;
  /** Whether this host serves addresses that furiwake added. */
  readonly areNeeded: () => boolean;
  readonly clock: Clock;
  readonly log: Log;
}): AddressLifetime {
  let last: number | undefined;
  /** In the kernel. */
  let kept: number | undefined;
  const extend = async (signal: AbortSignal): Promise<void> => {
    const untilMs = last;
    await placement.keepUntil(untilMs, signal);
    kept = untilMs;
  };
  const due = makeLatch();
  return {
    keepUntil: (untilMs) => {
      last = untilMs;
      due.set();
    },
    trouble: () => {
      const nowMs = clock.monotonic();
      const isOver = last !== undefined && last > nowMs && kept !== undefined && kept <= nowMs;
      return isOver && areNeeded()
        ? 'the lifetime of the addresses of this host has ended: ip could not extend it'
        : undefined;
    },
    run: (signal) =>
      runWhenSet({
        what: 'extending the lifetime of the addresses of this host',
        due,
        work: () => extend(signal),
        retry: waitLimits.quick,
        level: 'error',
        clock,
        log,
        signal,
      }),
  };
}
