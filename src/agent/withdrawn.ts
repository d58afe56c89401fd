import { isHostBackend } from '../core/traffic/host-pods.ts';
import { makeTable, type Listener, type TrafficTable, withdrawnRanges } from '../core/traffic/table.ts';
import { makeListener } from '../core/traffic/make-listener.ts';

const closedListeners = new WeakMap<Listener, Listener>();
const unplacedListeners = new WeakMap<Listener, Listener>();

/** The listener as a withdrawn host has it: on no address of the host, closed to new connections. */
export function closed(listener: Listener): Listener {
  let made = closedListeners.get(listener);
  if (made === undefined) {
    // A packet that still arrives for `direct` is handed to the same node as by the host that took over.
    const closing = listener.dataplane === 'direct' ? {} : { sourceRanges: withdrawnRanges, isDraining: true };
    made = makeListener({ ...listener, ...closing, isHostAddress: true });
    closedListeners.set(listener, made);
  }
  return made;
}

/** The listener on no address of the host: connections of neighbours that still send packets here are served. */
export function unplaced(listener: Listener): Listener {
  let made = unplacedListeners.get(listener);
  if (made === undefined) {
    made = makeListener({ ...listener, isHostAddress: true });
    unplacedListeners.set(listener, made);
  }
  return made;
}

/**
 * The table of a host that may not serve: every listener `closed`; established connections continue. Those of the host itself go to the
 * host that serves: this one may not hear which Pods there are.
 */
export function withdrawn(table: TrafficTable): TrafficTable {
  return {
    ...makeTable(Array.from(table.listeners.values(), closed), []),
    backends: table.backends,
    pods: table.pods.with([...table.pods.keys()].filter(isHostBackend).map((id) => [id, undefined])),
    nodes: table.nodes,
    excludedNodes: table.excludedNodes,
    withoutEndpoints: table.withoutEndpoints,
  };
}
