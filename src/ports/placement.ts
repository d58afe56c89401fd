import type { Ip } from '../core/ip/ip.ts';
import type { PersistentMap } from '../core/persistent-map.ts';
import type { Addresses } from './host.ts';

/** Adds addresses to this host; removes only addresses that it added. */
export type Placement = {
  /**
   * Adds those of `wanted` that the host lacks and records them before, if the disk accepts it; does not advertise. One that the
   * kernel refuses is isolated (`HostAddresses.refused`). Resolves with the addresses that are new on the host. Throws when `ip`
   * cannot be run.
   */
  add(wanted: Addresses, signal: AbortSignal): Promise<readonly Ip[]>;
  /** Removes the addresses that placement added and that are not in `wanted`. Resolves with whether there were any. */
  remove(wanted: Addresses, signal: AbortSignal): Promise<boolean>;
  /**
   * Reads everything back: restores missing addresses of `wanted`, moves those that are on the wrong interface for their
   * neighbours, and no longer manages addresses that another program has configured on the host. Resolves with the
   * restored and moved ones.
   */
  audit(wanted: Addresses, signal: AbortSignal): Promise<readonly Ip[]>;
  /**
   * Less than an audit, for the time between two of them: it costs the same with any number of addresses. Adds those of `wanted` that
   * are missing as far as is known, and is an audit if a change has failed or the DNS servers of the host are others: the kernel reports
   * the rest (`HostNetwork.watch`). Resolves with the restored and moved ones.
   */
  check(wanted: Addresses, signal: AbortSignal): Promise<readonly Ip[]>;
};

/** The addresses that furiwake added to this host or is about to add: text of the address → its interface. */
export type PlacementRecord = PersistentMap<string, string>;

/** The record on the disk. */
export type PlacementRecordFile = {
  /** Empty if there is no file; damaged lines are skipped and logged. Throws `NewerFileError`. */
  read(): Promise<PlacementRecord>;
  write(record: PlacementRecord): Promise<void>;
};
