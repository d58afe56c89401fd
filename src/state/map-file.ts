import * as z from 'zod';
import { makeSerial } from '../async/serial.ts';
import { systemWords } from '../async/error-words.ts';
import { parseJson } from '../core/parse-json.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Log } from '../ports/log.ts';
import type { RestorableFiles } from './lost-files.ts';

/**
 * A map in a file of the state directory: a header, then a line of JSON for each entry. A change is appended, so that one
 * change among ten thousand entries costs one line. The first write of a process rewrites the whole file, and so does a
 * write after the file has doubled its size. A file that is removed while the process runs is written again from memory
 * (`RestorableFiles`).
 *
 *   {"file":"ledger","version":2}
 *   {"uid":"uid-1", …}        an entry
 *   {"uid":"uid-1", …}        replaces the entry of the same key
 *   {"gone":"uid-1"}          removes it
 */
export type MapFile<K extends string, V> = {
  /**
   * `undefined` if there is no file, or none that can be read, which is logged. Damaged lines are skipped and logged; every
   * other line counts. Throws {@link NewerFileError}, and {@link UnreadableFileError} if `without` is not given.
   */
  read(): Promise<PersistentMap<K, V> | undefined>;
  /** Throws {@link NewerFileError} as `read` does, without decoding the entries. */
  assertVersion(): Promise<void>;
  /**
   * Makes the file contain `map`. A crash leaves the entries as they were, or with some of the
   * changes; after a failed write the next one rewrites the whole file.
   */
  write(map: PersistentMap<K, V>): Promise<void>;
};

/** A newer release wrote the file, and this one would misread it. */
export class NewerFileError extends Error {
  override readonly name = 'NewerFileError';
  readonly code = 'NEWER_FILE';
  constructor(path: string, version: number, known: number) {
    super(
      `${path} was written by a newer release (version ${version}, this one reads up to version ${known}): start the newer release, or run its \`furiwake cleanup\` before going back`,
    );
  }
}

/** The system cannot read a file that furiwake does not start without. */
export class UnreadableFileError extends Error {
  override readonly name = 'UnreadableFileError';
  readonly code = 'UNREADABLE_FILE';
  constructor(path: string, cause: unknown) {
    super(`${path} cannot be read (${systemWords(cause)}): repair the disk, or remove the file`, { cause });
  }
}

export type MapFileDeps<K extends string, V> = {
  readonly path: string;
  /** For the header, with the version of the entry format. */
  readonly name: string;
  readonly version: number;
  readonly files: RestorableFiles;
  /** A lost file is written again only where this one exists. */
  readonly needs?: string;
  readonly log: Log;
  /** What furiwake does while the system cannot read the file: ends the line that says so. */
  readonly without?: string;
  /** A file with damage counts as one that cannot be read: what it lacks would be removed. */
  readonly isWhole?: boolean;
  /** Fields of the entry's JSON object; neither `gone` nor `file` is one of them. */
  readonly encode: (value: V, key: K) => object;
  /** Reads such an object; throws for any other. */
  readonly decode: (fields: unknown) => readonly [K, V];
  /**
   * The file of an earlier release, without a header: read if there is no file at `path`, removed after one was
   * written.
   */
  readonly earlier?: { readonly path: string; readonly decode: (fields: unknown) => readonly [K, V] };
};

/** The map in the file, the length of the file in characters, and its length after the last complete write. */
type Written<K extends string, V> = {
  readonly map: PersistentMap<K, V>;
  readonly length: number;
  readonly wholeLength: number;
};

/** In characters: a shorter file is not rewritten after every few changes. */
const leastLength = 65_536;

/** Throws {@link NewerFileError} if the file begins with the header of a newer version; no error if it cannot be read. */
export async function assertFileVersion(
  files: Pick<RestorableFiles, 'readStart'>,
  path: string,
  version: number,
): Promise<void> {
  const start = (await files.readStart(path, mostHeaderBytes).catch(() => undefined)) ?? '';
  assertHeader(path, start.slice(0, start.indexOf('\n')), version);
}

/** Whether the line is a header. */
function assertHeader(path: string, line: string, version: number): boolean {
  const found = headerSchema.safeParse(parseJson(line));
  if (found.success && found.data.version > version) throw new NewerFileError(path, found.data.version, version);
  return found.success;
}

const mostHeaderBytes = 256;
const headerSchema = z.object({ file: z.string(), version: z.int() });

export function makeMapFile<K extends string, V>(deps: MapFileDeps<K, V>): MapFile<K, V> {
  const { path, name, version, files, needs, log, encode, decode, earlier, without, isWhole = false } = deps;
  const header = `${JSON.stringify({ file: name, version })}\n`;
  const lineOf = (value: V, key: K): string => `${JSON.stringify(encode(value, key))}\n`;
  let written: Written<K, V> | undefined;
  /** As the file was read or written last. */
  let known: PersistentMap<K, V> | undefined;
  const inTurn = makeSerial();
  let isEarlierThere = true;
  const unreadable = new Set<string>();

  const changesSince = (before: PersistentMap<K, V>, map: PersistentMap<K, V>): string =>
    PersistentMap.changedKeys(before, map)
      .map((key) => {
        const value = map.get(key);
        return value === undefined ? `${JSON.stringify({ gone: key })}\n` : lineOf(value, key);
      })
      .join('');

  /** `undefined` if the whole file must be written. */
  const append = async (before: Written<K, V>, map: PersistentMap<K, V>): Promise<Written<K, V> | undefined> => {
    const changes = changesSince(before.map, map);
    const length = before.length + changes.length;
    if (length > 2 * before.wholeLength) return undefined;
    try {
      if (changes !== '') await files.append(path, changes);
      return { ...before, map, length };
    } catch {
      return undefined; // the file was removed; with any other cause writing the whole file also fails
    }
  };

  const replace = async (map: PersistentMap<K, V>): Promise<Written<K, V>> => {
    // The text is built each time: keeping it would take 2.5 MB with 10,000 Services.
    const text = header + Array.from(map, ([key, value]) => lineOf(value, key)).join('');
    if (unreadable.delete(path)) await files.remove(path); // no file can be renamed to the name of a folder
    await files.write(path, text);
    if (earlier !== undefined && isEarlierThere) await files.remove(earlier.path);
    isEarlierThere = false;
    return { map, wholeLength: Math.max(text.length, leastLength), length: text.length };
  };

  const readLines = (
    from: string,
    lines: readonly string[],
    firstNumber: number,
    decodeLine: typeof decode,
  ): PersistentMap<K, V> | undefined => {
    const entries = new Map<K, V>();
    let damage: { readonly line: number; readonly error: unknown } | undefined;
    let damaged = 0;
    for (const [index, line] of lines.entries()) {
      try {
        const fields = JSON.parse(line) as { readonly gone?: unknown } | null;
        if (typeof fields?.gone === 'string') entries.delete(fields.gone as K);
        else entries.set(...decodeLine(fields));
      } catch (error) {
        damaged++;
        damage ??= { line: firstNumber + index, error };
      }
    }
    if (damage !== undefined)
      log.error(
        {
          file: `${from}:${damage.line}`,
          lines: damaged,
          why: damage.error instanceof SyntaxError ? 'the line is not JSON' : 'the line is not an entry of this file',
        },
        isWhole ? `damaged lines in a state file: ${without}` : 'damaged lines in a state file; using all others',
      );
    if (damage !== undefined && isWhole) return undefined;
    return PersistentMap.from(entries);
  };

  /** Without the last one, which is empty or was cut short by a crash before furiwake acted on it. */
  const linesOf = (text: string): readonly string[] => text.split('\n').slice(0, -1);

  const readText = async (from: string): Promise<string | undefined> => {
    try {
      return await files.read(from);
    } catch (error) {
      if (without === undefined) throw new UnreadableFileError(from, error);
      if (!unreadable.has(from)) log.error({ file: from, err: error }, `a state file cannot be read: ${without}`);
      unreadable.add(from);
      return undefined;
    }
  };

  const read = async (): Promise<PersistentMap<K, V> | undefined> => {
    const text = await readText(path);
    if (text !== undefined) {
      const [first = '', ...lines] = linesOf(text);
      known = assertHeader(path, first, version)
        ? readLines(path, lines, 2, decode)
        : readLines(path, [first, ...lines], 1, decode);
      return known;
    }
    const old = earlier && (await readText(earlier.path));
    return earlier === undefined || old === undefined
      ? undefined
      : readLines(earlier.path, linesOf(old), 1, earlier.decode);
  };

  files.onLost?.(() =>
    inTurn(async () => {
      if (known === undefined || (await files.exists(path))) return undefined;
      if (needs !== undefined && !(await files.exists(needs))) return undefined;
      written = undefined;
      written = await replace(known);
      await files.sync(path);
      return path;
    }),
  );

  return {
    read: () => inTurn(read),
    assertVersion: async () => {
      const text = (await readText(path)) ?? '';
      assertHeader(path, text.slice(0, text.indexOf('\n')), version);
    },
    write: (map) =>
      inTurn(async () => {
        const before = written;
        if (before?.map === map) return;
        written = undefined; // the remains of a failed write are replaced completely
        written = (before && (await append(before, map))) ?? (await replace(map));
        known = map;
      }),
  };
}
