import type { Ip } from '../core/ip/ip.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { Listener, Listeners } from '../core/traffic/table.ts';
import type { Addresses, Refusals } from './host.ts';
import type { HostTable } from './host-table.ts';

/**
 * The kernel's task before a socket: steer packets of listeners to the proxy, reject everything else on added
 * addresses.
 */
export type SteeringTarget = {
  readonly listeners: Listeners;
  /** Those of them that have no server. As for a listener that drains, new connections are refused, and others continue. */
  readonly serverless: ReadonlySet<ListenerKey>;
  /** Addresses that furiwake added: packets for anything but a listener are rejected there. */
  readonly vips: Addresses;
  /** The host's own addresses; the same object as long as they are the same. */
  readonly own: ReadonlyMap<string, Ip>;
  /** Loopback port of the proxy for a listener; the same for the same listener. */
  readonly portOf: (listener: Listener) => number;
};

/**
 * nftables in front of the proxy, with routing rules and routes, which are audited, checked and removed as well. On links that are
 * bridges, packets that br_netfilter passes on are steered, too.
 */
export type Steering = HostTable & {
  /**
   * Makes the kernel steer exactly as `target` says, atomically, and changes only the differences. A listener that nft
   * refuses is isolated: its elements stay as they were (none, or the last accepted ones), and all others are in force
   * when this resolves. Throws `ExecError` if nft accepts no change at all; then everything stays as it was.
   */
  apply(target: SteeringTarget, signal: AbortSignal): Promise<Refusals<ListenerKey>>;
  /**
   * How many SYNs from outside the source ranges were dropped since the table was made, for each of the steered listeners among
   * `keys` that has source ranges; for all of them without `keys`. Throws `ExecError`.
   */
  refused(signal: AbortSignal, keys?: Iterable<ListenerKey>): Promise<ReadonlyMap<ListenerKey, number>>;
};
