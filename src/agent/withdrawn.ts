import { makeListener, makeTable, type Listener, type TrafficTable } from '../core/traffic/table.ts';

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
