import type { AddressRecord } from '../core/addresses/assignment.ts';
import type { ServiceUid } from '../core/model/names.ts';
import type { PersistentMap } from '../core/persistent-map.ts';

export type LedgerRecords = PersistentMap<ServiceUid, AddressRecord>;

/** Who has which address: written before anything is programmed or published. */
export type Ledger = {
  /** All records. Throws what cannot be read at all; a damaged record is left out and logged. */
  read(): Promise<LedgerRecords>;
  /**
   * Writes the changes (`undefined`: the record goes). Resolves with the keys that could not be committed, each with why;
   * all others hold from then on.
   */
  commit(
    changes: ReadonlyMap<ServiceUid, AddressRecord | undefined>,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<ServiceUid, string>>;
};
