/** Some of the entries of a {@link PersistentMap}: keys in ascending order, each with its value. Never changed. */
type Part<K, V> = { readonly keys: readonly K[]; readonly values: readonly V[] };

/** As many parts as there are branches. Never changed. */
type Branch<K, V> = readonly Part<K, V>[];

const widthBits = 5;
const width = 1 << widthBits;
const noPart: Part<never, never> = { keys: [], values: [] };
const noBranch: Branch<never, never> = Array.from({ length: width }, () => noPart);

/**
 * An immutable map with strings as keys. A changed copy shares all unchanged parts with its origin: a change costs the same
 * among ten thousand entries as among ten, and {@link PersistentMap.changedKeys} looks only at what differs.
 *
 *   before              [ branch 0 | branch 1  | … | branch 31 ]     a branch: [ part 0 | part 1  | … | part 31 ]
 *                            ║           │             ║                            ║        │             ║
 *   before.with(…)      [ branch 0 | branch 1′ | … | branch 31 ]               [ part 0 | part 1′ | … | part 31 ]
 *
 * ║ is the same object. A part has the keys with one hash, sorted. The order of iteration depends only on the keys, not on
 * the history of the map: same content, same bytes.
 */
export class PersistentMap<K extends string, V> implements ReadonlyMap<K, V> {
  readonly #branches: readonly Branch<K, V>[];
  readonly size: number;

  private constructor(branches: readonly Branch<K, V>[], size: number) {
    this.#branches = branches;
    this.size = size;
  }

  static readonly #empty = new PersistentMap<never, never>(
    Array.from({ length: width }, () => noBranch),
    0,
  );

  static empty<K extends string, V>(): PersistentMap<K, V> {
    return PersistentMap.#empty;
  }

  /** If two entries have the same key, the later one counts. */
  static from<K extends string, V>(entries: Iterable<readonly [K, V]>): PersistentMap<K, V> {
    return PersistentMap.empty<K, V>().with(entries);
  }

  get(key: K): V | undefined {
    const { keys, values } = this.#partOf(key);
    const at = positionOf(keys, key);
    return keys[at] === key ? values[at] : undefined;
  }

  has(key: K): boolean {
    const { keys } = this.#partOf(key);
    return keys[positionOf(keys, key)] === key;
  }

  /** A copy with other values for some keys; `undefined` removes a key. The map itself if that changes nothing. */
  with(changes: Iterable<readonly [K, V | undefined]>): PersistentMap<K, V> {
    const drafts = new Map<number, { keys: K[]; values: V[] }>();
    let { size } = this;
    for (const [key, value] of changes) {
      const index = partIndex(key);
      const part = drafts.get(index) ?? this.#partAt(index);
      const at = positionOf(part.keys, key);
      const isThere = part.keys[at] === key;
      if (isThere ? part.values[at] === value : value === undefined) continue;
      let draft = drafts.get(index);
      if (draft === undefined) {
        draft = { keys: part.keys.slice(), values: part.values.slice() };
        drafts.set(index, draft);
      }
      if (value === undefined) {
        draft.keys.splice(at, 1);
        draft.values.splice(at, 1);
        size--;
      } else if (isThere) draft.values[at] = value;
      else {
        draft.keys.splice(at, 0, key);
        draft.values.splice(at, 0, value);
        size++;
      }
    }
    if (drafts.size === 0) return this;
    const branches = this.#branches.slice();
    const copies = new Map<number, Part<K, V>[]>();
    for (const [index, { keys, values }] of drafts) {
      const at = index >>> widthBits;
      const branch = copies.get(at) ?? branches[at]?.slice() ?? [];
      copies.set(at, branch);
      branches[at] = branch;
      // A copy has no spare capacity.
      branch[index & (width - 1)] = keys.length === 0 ? noPart : { keys: keys.slice(), values: values.slice() };
    }
    return new PersistentMap(branches, size);
  }

  *entries(): Generator<[K, V], undefined> {
    for (const { keys, values } of this.#filled())
      for (let index = 0; index < keys.length; index++) yield [keys[index] as K, values[index] as V];
  }

  *keys(): Generator<K, undefined> {
    for (const { keys } of this.#filled()) yield* keys;
  }

  *values(): Generator<V, undefined> {
    for (const { values } of this.#filled()) yield* values;
  }

  [Symbol.iterator](): Generator<[K, V], undefined> {
    return this.entries();
  }

  forEach(call: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this) call(value, key, this);
  }

  /**
   * Keys whose values are different objects in the two maps, or that only one of them has; in the order of the maps. The
   * cost grows with the number of differences only.
   */
  static changedKeys<K extends string, V>(before: PersistentMap<K, V>, after: PersistentMap<K, V>): readonly K[] {
    const changed: K[] = [];
    for (let at = 0; at < width; at++) {
      const [old, now] = [before.#branches[at] ?? noBranch, after.#branches[at] ?? noBranch];
      if (old === now) continue;
      for (let index = 0; index < width; index++) compareParts(old[index] ?? noPart, now[index] ?? noPart, changed);
    }
    return changed;
  }

  /** True if `changedKeys` finds none. */
  static areSame<K extends string, V>(a: PersistentMap<K, V>, b: PersistentMap<K, V>): boolean {
    return a === b || (a.size === b.size && PersistentMap.changedKeys(a, b).length === 0);
  }

  #partAt(index: number): Part<K, V> {
    return this.#branches[index >>> widthBits]?.[index & (width - 1)] ?? noPart;
  }

  #partOf(key: K): Part<K, V> {
    return this.#partAt(partIndex(key));
  }

  /** The parts that are not empty, in their order. */
  #filled(): readonly Part<K, V>[] {
    return this.#branches.flatMap((branch) => branch.filter((part) => part !== noPart));
  }
}

/** A hash that is spread evenly also for keys that differ in a few letters only (FNV-1a, mixed). */
function partIndex(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  return (hash ^ (hash >>> 15)) & (width * width - 1);
}

/** Index of the key, or the index at which it would be inserted. */
function positionOf(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function compareParts<K extends string, V>(before: Part<K, V>, after: Part<K, V>, changed: K[]): void {
  if (before === after) return;
  let old = 0;
  let now = 0;
  while (old < before.keys.length || now < after.keys.length) {
    const oldKey = before.keys[old];
    const nowKey = after.keys[now];
    if (oldKey !== undefined && (nowKey === undefined || oldKey < nowKey)) {
      changed.push(oldKey);
      old++;
    } else if (nowKey !== undefined && (oldKey === undefined || nowKey < oldKey)) {
      changed.push(nowKey);
      now++;
    } else {
      if (before.values[old] !== after.values[now]) changed.push(nowKey as K);
      old++;
      now++;
    }
  }
}

/** True when both have the same keys with identical values. */
export function isSameMap<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) if (b.get(key) !== value) return false;
  return true;
}

/** True if both have the same elements. */
export function isSameSet<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean {
  return a.size === b.size && Array.from(a).every((each) => b.has(each));
}
