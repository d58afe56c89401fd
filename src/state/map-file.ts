import { PersistentMap } from '../core/persistent-map.ts';
import type { Files } from '../ports/files.ts';

/**
 * A map in a file of the state directory: a line of JSON for each entry. A change is appended, so that one among ten
 * thousand costs a line; when as much was appended as there was, and at the start, the file is written as a whole.
 *
 *   {"key":"uid-1", …}        an entry
 *   {"key":"uid-1", …}        the same one later: this one counts
 *   {"gone":"uid-1"}          and now there is none
 */
export type MapFile<K extends string, V> = {
  /** `undefined` when there is no file. Throws `SyntaxError` for what is not of its form, with path and line. */
  read(): Promise<PersistentMap<K, V> | undefined>;
  /**
   * Makes the file tell `map`; not concurrently. A crash leaves what it told before, or that with some of the changes; a
   * write that failed is made good by the next one.
   */
  write(map: PersistentMap<K, V>): Promise<void>;
};

export type MapFileDeps<K extends string, V> = {
  readonly path: string;
  readonly files: Files;
  /** Fields of the entry's JSON object, `gone` being none of them; `undefined` for one that is not kept. */
  readonly encode: (value: V, key: K) => object | undefined;
  /** Reads such an object; throws when it is another. */
  readonly decode: (fields: unknown) => readonly [K, V];
};

/** What the file tells, its length, and its length when it was last written as a whole. */
type Told<K extends string, V> = {
  readonly map: PersistentMap<K, V>;
  readonly length: number;
  readonly wholeLength: number;
};

export function makeMapFile<K extends string, V>({ path, files, encode, decode }: MapFileDeps<K, V>): MapFile<K, V> {
  const lineOf = (value: V, key: K): string => {
    const fields = encode(value, key);
    return fields === undefined ? '' : `${JSON.stringify(fields)}\n`;
  };
  let told: Told<K, V> | undefined;

  const changesSince = (before: PersistentMap<K, V>, map: PersistentMap<K, V>): string =>
    PersistentMap.changedKeys(before, map)
      .map((key) => {
        const value = map.get(key);
        return (value === undefined ? '' : lineOf(value, key)) || `${JSON.stringify({ gone: key })}\n`;
      })
      .join('');

  /** `undefined` when the file is due to be written as a whole, or is not there to be appended to. */
  const append = async (before: Told<K, V>, map: PersistentMap<K, V>): Promise<Told<K, V> | undefined> => {
    const changes = changesSince(before.map, map);
    const length = before.length + changes.length;
    if (length > 2 * before.wholeLength) return undefined;
    try {
      if (changes !== '') await files.append(path, changes);
      return { ...before, map, length };
    } catch {
      return undefined; // somebody removed it; whatever else it is, the whole file will tell
    }
  };

  const replace = async (map: PersistentMap<K, V>): Promise<Told<K, V>> => {
    // Seldom, so nothing of it is kept: 2.5 MB with 10,000 Services.
    const text = Array.from(map, ([key, value]) => lineOf(value, key)).join('');
    await files.write(path, text);
    return { map, wholeLength: Math.max(text.length, leastLength), length: text.length };
  };

  return {
    read: async () => {
      const text = await files.read(path);
      if (text === undefined) return undefined;
      const lines = text.split('\n');
      lines.pop(); // nothing, or a line that a crash cut short: what it tells was not acted on
      const entries = new Map<K, V>();
      for (const [index, line] of lines.entries()) {
        try {
          const fields = JSON.parse(line) as { readonly gone?: unknown };
          if (typeof fields.gone === 'string') entries.delete(fields.gone as K);
          else entries.set(...decode(fields));
        } catch (error) {
          throw new SyntaxError(`${path}:${index + 1}: ${error instanceof Error ? error.message : String(error)}`, {
            cause: error,
          });
        }
      }
      return PersistentMap.from(entries);
    },
    write: async (map) => {
      const before = told;
      if (before?.map === map) return;
      told = undefined; // what a failure leaves is replaced as a whole
      told = (before && (await append(before, map))) ?? (await replace(map));
    },
  };
}

/** A short file is not written anew for every few changes. */
const leastLength = 65_536;
