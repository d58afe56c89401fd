import type { AddressRecord } from '../core/addresses/assignment.ts';
import type { ServiceUid } from '../core/model/names.ts';
import type { PersistentMap } from '../core/persistent-map.ts';

export type LedgerRecords = PersistentMap<ServiceUid, AddressRecord>;

/** Which Service has which address: written before anything is programmed or published. */
export type Ledger = {
  /** All records. Throws if the ledger cannot be read at all; skips and logs a damaged record. */
  read(): Promise<LedgerRecords>;
  /**
   * Writes the changes (`undefined` removes the record). Resolves with the keys that could not be committed, each with
   * the cause; all others are committed.
   */
  commit(
    changes: ReadonlyMap<ServiceUid, AddressRecord | undefined>,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<ServiceUid, string>>;
};
