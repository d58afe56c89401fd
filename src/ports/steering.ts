import type { Ip } from '../core/ip/ip.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { Listener, Listeners } from '../core/traffic/table.ts';
import type { Addresses, Refusals } from './host.ts';
import type { TableOutage } from './table-outage.ts';

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

/** nftables in front of the proxy. */
export type Steering = {
  readonly outage: TableOutage;
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
  /** Reads back the kernel's state and repairs it; returns the number of repairs. */
  audit(signal: AbortSignal): Promise<number>;
  /**
   * Less than an audit, for the time between two of them: its cost does not grow with the number of listeners. It reads routing rules,
   * chains and rules, and no elements; if chains or rules differ, it is an audit.
   */
  check(signal: AbortSignal): Promise<number>;
  /** Until `signal` aborts: watches for external changes to the table or the routing rule and reverts them at once. */
  run(signal: AbortSignal): Promise<void>;
  /** The links of the host may have changed: packets that br_netfilter passes on from a bridge are steered at once. */
  noteFacts(): void;
  /** Removes table, routing rules and routes. Resolves with whether there were any. */
  remove(signal: AbortSignal): Promise<boolean>;
};
