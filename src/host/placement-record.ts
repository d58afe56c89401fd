import type { PersistentMap } from '../core/persistent-map.ts';

/** The addresses that furiwake put on this host, or is about to: text of the address → the interface that has it. */
export type PlacementRecord = PersistentMap<string, string>;

/** The record on the disk. */
export type RecordFile = {
  /** Empty where there is none; damaged lines are left out and logged. */
  read(): Promise<PlacementRecord>;
  write(record: PlacementRecord): Promise<void>;
};
