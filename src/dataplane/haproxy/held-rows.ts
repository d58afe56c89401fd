import { difference } from './row-list.ts';
import type { Entry } from './rows.ts';

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
  upserts(wanted: readonly Entry[]): readonly RowChange[];
  /** All changes, so that `wanted` are held and nothing else. */
  prune(wanted: readonly Entry[]): readonly RowChange[];
};

export function makeHeldRows(values: Map<string, string>): HeldRows {
  /** All of these are held. */
  let reached: readonly Entry[] = [];
  /** These are held, and not among `reached`. */
  const leaving = new Set(values.keys());

  const upserts: HeldRows['upserts'] = (wanted) => {
    const changed = difference(reached, wanted);
    if (changed === undefined) return [];
    for (const { key } of reached.slice(changed.start, changed.endBefore)) leaving.add(key);
    const differing = wanted.slice(changed.start, changed.endAfter);
    for (const { key } of differing) leaving.delete(key);
    reached = wanted;
    const changes: RowChange[] = [];
    for (const { key, value } of differing) {
      const present = values.get(key);
      if (present === value) continue;
      changes.push({ do: present === undefined ? 'add' : 'set', key, value });
      values.set(key, value);
    }
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
