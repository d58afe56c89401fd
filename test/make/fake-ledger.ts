import type { ServiceUid } from '../../src/core/model/names.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import type { Ledger, LedgerRecords } from '../../src/ports/ledger.ts';

/** A ledger in memory, for tests. Passes test/contract/ledger.ts. */
export type FakeLedger = Ledger & {
  readonly records: () => LedgerRecords;
  /** From now on each commit fails with this message; `undefined`: it succeeds. */
  readonly failWith: (message: string | undefined) => void;
  /** From now on only these keys fail, as an API server refuses single objects. */
  readonly refuse: (words: ReadonlyMap<ServiceUid, string>) => void;
};

export function makeFakeLedger(): FakeLedger {
  let records: LedgerRecords = PersistentMap.empty();
  let failure: string | undefined;
  let refused: ReadonlyMap<ServiceUid, string> = new Map();
  return {
    records: () => records,
    failWith: (message) => {
      failure = message;
    },
    refuse: (words) => {
      refused = words;
    },
    read: async () => records,
    commit: async (changes) => {
      const words = new Map<ServiceUid, string>();
      for (const uid of changes.keys()) {
        const why = failure ?? refused.get(uid);
        if (why !== undefined) words.set(uid, why);
      }
      records = records.with([...changes].filter(([uid]) => !words.has(uid)));
      return words;
    },
  };
}
