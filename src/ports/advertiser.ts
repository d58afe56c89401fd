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
