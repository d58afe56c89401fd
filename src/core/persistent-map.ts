/** Some of the entries of a {@link PersistentMap}: keys in ascending order, each with its value. Never changed. */
type Part<K, V> = { readonly keys: readonly K[]; readonly values: readonly V[] };

const partCount = 1_024;
const noPart: Part<never, never> = { keys: [], values: [] };

/**
 * An immutable map of strings. A changed copy shares what it can with its origin, so that a change of ten thousand
 * entries costs as much as one of ten, and {@link PersistentMap.changedKeys} finds what differs without looking at the rest.
 *
 *   before              [ part 0 | part 1  | part 2 | … | part 1023 ]      a part: the keys with one hash, sorted
 *                            ║        │         ║              ║
 *   before.with(…)      [ part 0 | part 1′ | part 2 | … | part 1023 ]      ║ the same object
 *
 * Iterates in an order that depends on the keys alone, not on how the map came to be: same content, same bytes.
 */
export class PersistentMap<K extends string, V> implements ReadonlyMap<K, V> {
  readonly #parts: readonly Part<K, V>[];
  readonly size: number;

  private constructor(parts: readonly Part<K, V>[], size: number) {
    this.#parts = parts;
    this.size = size;
  }

  static readonly #empty = new PersistentMap<never, never>(
    Array.from({ length: partCount }, () => noPart),
    0,
  );

  static empty<K extends string, V>(): PersistentMap<K, V> {
    return PersistentMap.#empty;
  }

  /** Of two entries with one key the later one counts. */
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

  /** This map with other values for some keys, `undefined` to leave one out; itself where that makes no difference. */
  with(changes: Iterable<readonly [K, V | undefined]>): PersistentMap<K, V> {
    const drafts = new Map<number, { keys: K[]; values: V[] }>();
    let { size } = this;
    for (const [key, value] of changes) {
      const index = partIndex(key);
      const part = drafts.get(index) ?? this.#parts[index] ?? noPart;
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
    const parts = this.#parts.slice();
    for (const [index, { keys, values }] of drafts) {
      // Arrays that grew keep room to grow on.
      parts[index] = keys.length === 0 ? noPart : { keys: keys.slice(), values: values.slice() };
    }
    return new PersistentMap(parts, size);
  }

  *entries(): Generator<[K, V], undefined> {
    for (const { keys, values } of this.#parts)
      for (let index = 0; index < keys.length; index++) yield [keys[index] as K, values[index] as V];
  }

  *keys(): Generator<K, undefined> {
    for (const { keys } of this.#parts) yield* keys;
  }

  *values(): Generator<V, undefined> {
    for (const { values } of this.#parts) yield* values;
  }

  [Symbol.iterator](): Generator<[K, V], undefined> {
    return this.entries();
  }

  forEach(call: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this) call(value, key, this);
  }

  /**
   * Keys whose values are different objects in the two maps, or that only one of them has; in the order of the maps. Takes
   * as long as there are differences.
   */
  static changedKeys<K extends string, V>(before: PersistentMap<K, V>, after: PersistentMap<K, V>): readonly K[] {
    const changed: K[] = [];
    if (before === after) return changed;
    for (let index = 0; index < partCount; index++) {
      const old = before.#parts[index] ?? noPart;
      const now = after.#parts[index] ?? noPart;
      if (old !== now) compareParts(old, now, changed);
    }
    return changed;
  }

  /** A text for each map, of a piece for each of its entries. Made anew only for the parts that are new to it. */
  static makeText<K extends string, V>(piece: (value: V, key: K) => string): (map: PersistentMap<K, V>) => string {
    const texts = new WeakMap<Part<K, V>, string>();
    const textOf = (part: Part<K, V>): string => {
      let text = texts.get(part);
      if (text === undefined) {
        text = part.values.map((value, index) => piece(value, part.keys[index] as K)).join('');
        texts.set(part, text);
      }
      return text;
    };
    return (map) => map.#parts.map(textOf).join('');
  }

  #partOf(key: K): Part<K, V> {
    return this.#parts[partIndex(key)] ?? noPart;
  }
}

/** A number that is spread evenly for keys that differ in a few letters only (FNV-1a, mixed). */
function partIndex(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  return (hash ^ (hash >>> 15)) & (partCount - 1);
}

/** Where the key is, or would have to be. */
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
