import type { Latch } from '../async/latch.ts';
import { runWhenSet } from '../async/run-when-set.ts';
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
  await runWhenSet({
    what: 'withdrawing this host',
    due,
    work: async () => {
      if (!isServing()) await placement.remove(PersistentMap.empty(), signal);
    },
    retry: { firstMs: 100, mostMs: 5_000 },
    level: 'error',
    clock,
    log,
    signal,
  });
}
