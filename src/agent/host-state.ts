import { PersistentMap } from '../core/persistent-map.ts';
import type { Listeners, TrafficTable } from '../core/traffic/table.ts';
import type { Addresses } from '../ports/host.ts';

/** The listeners of a host, as its tools have acknowledged them. */
export type HostState = {
  /** Every listener that may have connections on the host: from before it is programmed until after it is removed. */
  readonly held: Listeners;
  /** Those that are certainly in force, with the policy in force. */
  readonly inForce: Listeners;
  /**
   * The last target, with every refused listener as it was before; the table of HAProxy, which has more listeners until it
   * is pruned; the addresses, without those of listeners that cannot be removed. `undefined`: nothing is programmed yet.
   */
  readonly programmed:
    | { readonly table: TrafficTable; readonly proxied: TrafficTable; readonly addresses: Addresses }
    | undefined;
};

export const emptyHostState: HostState = {
  held: PersistentMap.empty(),
  inForce: PersistentMap.empty(),
  programmed: undefined,
};
