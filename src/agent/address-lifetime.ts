import { makeAlarm, type Alarm } from '../async/alarm.ts';
import { waitLimits } from '../async/backoff.ts';
import { makeLatch } from '../async/latch.ts';
import { runWhenSet } from '../async/run-when-set.ts';
import { makeSubscribers } from '../async/subscribers.ts';
import type { AddressExpiry } from '../ports/address-expiry.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';

/**
 * The lifetime of the addresses that furiwake added. Without an extension the kernel removes them, so that a host whose
 * furiwake is dead or hangs does not answer for an address that another host has taken over.
 */
export type AddressLifetime = {
  /** See `AddressExpiry.keepUntil`. Returns at once. */
  keepUntil(untilMs: number | undefined): void;
  /** Why the kernel has removed the addresses, though this host needs and may keep them; `undefined`: it has not. */
  trouble(): string | undefined;
  /**
   * Calls `listener` when `trouble` may have changed, also after the extension of a lifetime that had ended: addresses may be missing.
   * Returns a function that ends the subscription.
   */
  subscribe(listener: () => void): () => void;
  /** Sets the lifetime in the kernel, until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

/** Of an address on a host that is not alone; see `leadAsHolder`. */
export const longestLifetimeMs = 12_000;

export function makeAddressLifetime({
  expiry,
  areNeeded,
  clock,
  log,
}: {
  readonly expiry: Pick<AddressExpiry, 'keepUntil'>;
  /** Whether this host serves addresses that furiwake added. */
  readonly areNeeded: () => boolean;
  readonly clock: Clock;
  readonly log: Log;
}): AddressLifetime {
  let last: number | undefined;
  /** In the kernel. */
  let kept: number | undefined;
  let alarm: Alarm | undefined;
  const due = makeLatch();
  const subscribers = makeSubscribers();

  const trouble = (): string | undefined => {
    const nowMs = clock.monotonic();
    const isOver = last !== undefined && last > nowMs && kept !== undefined && kept <= nowMs;
    return isOver && areNeeded()
      ? 'the lifetime of the addresses of this host has ended: ip could not extend it'
      : undefined;
  };
  const follow = (): void => {
    if (kept !== undefined && kept > clock.monotonic()) alarm?.setAt(kept);
    else if (trouble() !== undefined) subscribers.tell();
  };
  const extend = async (signal: AbortSignal): Promise<void> => {
    const untilMs = last;
    await expiry.keepUntil(untilMs, signal);
    const wasOver = kept !== undefined && kept <= clock.monotonic();
    kept = untilMs;
    follow();
    if (wasOver) subscribers.tell();
  };

  return {
    keepUntil: (untilMs) => {
      last = untilMs;
      due.set();
      follow();
    },
    trouble,
    subscribe: subscribers.subscribe,
    run: (signal) => {
      alarm = makeAlarm({ clock, signal, ring: follow });
      return runWhenSet({
        what: 'extending the lifetime of the addresses of this host',
        due,
        work: () => extend(signal),
        retry: waitLimits.quick,
        level: 'error',
        clock,
        log,
        signal,
      });
    },
  };
}
