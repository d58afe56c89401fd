import { PersistentMap } from '../../core/persistent-map.ts';
import type { Entries } from './rows.ts';

/** What must be done to one row. The map takes a second entry of a key without complaint: `add` is for new ones only. */
export type RowChange =
  | { readonly do: 'add' | 'set'; readonly key: string; readonly value: string }
  | { readonly do: 'del'; readonly key: string };

/**
 * The rows that a worker holds. Their invariant: what {@link HeldRows.upserts} and {@link HeldRows.prune} return has
 * been done by the time of the next call; whoever fails to do it must read the worker anew.
 */
export type HeldRows = {
  readonly values: ReadonlyMap<string, string>;
  /** The rows that must come or change, so that all of `wanted` are held. */
  upserts(wanted: Entries): readonly RowChange[];
  /** All changes, so that `wanted` are held and nothing else. */
  prune(wanted: Entries): readonly RowChange[];
};

export function makeHeldRows(values: Map<string, string>): HeldRows {
  /** All of these are held. */
  let reached: Entries = PersistentMap.empty();
  /** These are held, and not among `reached`. */
  const leaving = new Set(values.keys());

  const upserts: HeldRows['upserts'] = (wanted) => {
    const changes: RowChange[] = [];
    for (const listener of PersistentMap.changedKeys(reached, wanted)) {
      const [old, entry] = [reached.get(listener), wanted.get(listener)];
      if (entry === undefined) {
        if (old !== undefined) leaving.add(old.key);
        continue;
      }
      const { key, value } = entry;
      leaving.delete(key);
      const present = values.get(key);
      if (present === value) continue;
      changes.push({ do: present === undefined ? 'add' : 'set', key, value });
      values.set(key, value);
    }
    reached = wanted;
    return changes;
  };

  return {
    values,
    upserts,
    prune: (wanted) => {
      const changes = upserts(wanted); // of a worker that was read just now all rows would be leaving
      const gone = [...leaving];
      for (const key of gone) values.delete(key);
      leaving.clear();
      return [...changes, ...gone.map((key) => ({ do: 'del', key }) as const)];
    },
  };
}
