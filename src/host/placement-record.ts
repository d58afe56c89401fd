import type { PersistentMap } from '../core/persistent-map.ts';

/** The addresses that furiwake added to this host or is about to add: text of the address → its interface. */
export type PlacementRecord = PersistentMap<string, string>;

/** The record on the disk. */
export type RecordFile = {
  /** Empty if there is no file; damaged lines are skipped and logged. */
  read(): Promise<PlacementRecord>;
  write(record: PlacementRecord): Promise<void>;
};
