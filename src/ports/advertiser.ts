import type { Ip } from '../core/ip/ip.ts';
import type { Addresses } from './host.ts';

/** Attracts the traffic of addresses to this host. */
export type Advertiser = {
  /**
   * Makes the neighbours send packets for exactly these addresses here: announces new ones at once and again some
   * seconds later.
   */
  advertise(addresses: Addresses): void;
  /**
   * Calls `listener` after each change with all advertised addresses that another machine on the LAN has as well: text →
   * its MAC; none at the start. Returns a function that ends the subscription.
   */
  onDuplicates(listener: (duplicates: ReadonlyMap<string, string>) => void): () => void;
  /** Why nothing could be announced the last time; `undefined`: it could. */
  trouble(): string | undefined;
  /** Until `signal` aborts: announces addresses again whose neighbours may have forgotten them, and looks for duplicates. */
  run(signal: AbortSignal): Promise<void>;
};

/**
 * Finds the addresses that other machines on the LAN have: text of the address → MAC that answered. Sends all probes at
 * once and waits a quarter of a second, for any number of addresses; skips those on no LAN of this host. Also works for
 * addresses that this host already has. Throws `ExecError` when perl or `ip` fails.
 */
export type DuplicateProbe = (addresses: readonly Ip[], signal: AbortSignal) => Promise<ReadonlyMap<string, string>>;
