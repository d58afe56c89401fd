import { makeBackoff } from '../async/backoff.ts';
import type { Latch } from '../async/latch.ts';
import { makeTrouble } from '../async/trouble.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { makeListener, makeTable, type Listener, type TrafficTable } from '../core/traffic/table.ts';
import type { Clock } from '../ports/clock.ts';
import type { Placement } from '../ports/host.ts';
import type { Log } from '../ports/log.ts';

const closedListeners = new WeakMap<Listener, Listener>();

/** The listener as a withdrawn host has it: on no address of the host, closed to new connections. */
export function closed(listener: Listener): Listener {
  let made = closedListeners.get(listener);
  if (made === undefined) {
    made = makeListener({ ...listener, sourceRanges: [], isHostAddress: true });
    closedListeners.set(listener, made);
  }
  return made;
}

/** The table of a host that may not serve: every listener `closed`; established connections continue. */
export function withdrawn(table: TrafficTable): TrafficTable {
  return {
    ...makeTable(Array.from(table.listeners.values(), closed), []),
    backends: table.backends,
    nodes: table.nodes,
  };
}

/**
 * Removes every address of furiwake from this host whenever `due` is set and the host may not serve, until `signal` aborts.
 * It waits for no pass over the host: another host may announce these addresses within seconds.
 */
export async function runWithdrawals(
  {
    due,
    isServing,
    placement,
    clock,
    log,
  }: {
    readonly due: Latch;
    readonly isServing: () => boolean;
    readonly placement: Placement;
    readonly clock: Clock;
    readonly log: Log;
  },
  signal: AbortSignal,
): Promise<void> {
  const trouble = makeTrouble({
    what: 'withdrawing this host',
    log,
    monotonic: () => clock.monotonic(),
    level: 'error',
  });
  const pace = makeBackoff({ firstMs: 100, mostMs: 5_000 });
  for (;;) {
    await due.wait(signal);
    if (isServing()) continue;
    try {
      await placement.remove(PersistentMap.empty(), signal);
      trouble.over();
      pace.reset();
    } catch (error) {
      signal.throwIfAborted();
      trouble.failed(error);
      await clock.sleep(pace.next(), signal);
      due.set();
    }
  }
}
