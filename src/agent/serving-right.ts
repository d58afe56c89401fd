import { waitLimits } from '../async/backoff.ts';
import { makeLatch } from '../async/latch.ts';
import { runWhenSet } from '../async/run-when-set.ts';
import { superviseAll } from '../async/supervise-all.ts';
import type { AddressExpiry } from '../ports/address-expiry.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Placement } from '../ports/placement.ts';
import { longestLifetimeMs } from './address-lifetime.ts';
import { noAddresses } from './addresses.ts';

/** Whether this host may serve, and the removal of its addresses when it may not; see `Agent.setServing`. */
export type ServingRight = {
  isServing(): boolean;
  /** The first call of `set` has not come: the host stays as an earlier process has left it. */
  isUndecided(): boolean;
  set(isServing: boolean): void;
  /** Removes addresses, until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

export function makeServingRight(deps: {
  /** At the start. False: it is undecided. */
  readonly isServing: boolean;
  readonly expiry: Pick<AddressExpiry, 'removeUnending'>;
  readonly placement: Pick<Placement, 'remove'>;
  /** Called after each decision. */
  readonly onDecision: (isServing: boolean) => void;
  readonly clock: Clock;
  readonly log: Log;
}): ServingRight {
  const { expiry, placement, onDecision, clock, log } = deps;
  let { isServing } = deps;
  let isUndecided = !isServing;
  const withdrawal = makeLatch();
  if (isUndecided) withdrawal.set(); // the host may have the addresses of an earlier process

  const decide = (next: boolean): void => {
    isUndecided = false;
    isServing = next;
    if (!next) withdrawal.set();
    onDecision(next);
  };

  /** The addresses of the earlier process have ended by then. */
  const decideInTime = async (signal: AbortSignal): Promise<void> => {
    await clock.sleep(longestLifetimeMs, signal);
    if (isUndecided) decide(false);
  };

  /** Waits for no pass over the host: another host may announce these addresses within seconds. */
  const withdraw = (signal: AbortSignal): Promise<void> =>
    runWhenSet({
      what: 'withdrawing this host',
      due: withdrawal,
      work: async () => {
        if (isUndecided) await expiry.removeUnending(signal);
        else if (!isServing) await placement.remove(noAddresses, signal);
      },
      retry: waitLimits.quick,
      level: 'error',
      clock,
      log,
      signal,
    });

  return {
    isServing: () => isServing,
    isUndecided: () => isUndecided,
    set: (next) => {
      if (isUndecided || isServing !== next) decide(next);
    },
    run: (signal) => superviseAll([withdraw, decideInTime], signal),
  };
}
