import { PersistentMap } from '../../core/persistent-map.ts';
import type { Files } from '../../ports/files.ts';
import type { Log } from '../../ports/log.ts';

/** The addresses that are on this host by our doing, or are about to be: text of the address → the interface that has it. */
export type AddressRecord = PersistentMap<string, string>;

/** Its form on the disk. */
type Stored = {
  readonly version: 1;
  readonly addresses: readonly { readonly address: string; readonly interface: string }[];
};

/** Reads the record; none is an empty one. Throws `SyntaxError`, with path and advice, for what is no record of ours. */
export async function readRecord(files: Files, path: string): Promise<AddressRecord> {
  const text = await files.read(path);
  if (text === undefined) return PersistentMap.empty();
  try {
    const { version, addresses } = JSON.parse(text) as Partial<Stored>;
    if (version !== 1 || addresses === undefined) throw new SyntaxError('not a record of version 1');
    if (addresses.some((entry) => typeof entry.address !== 'string' || typeof entry.interface !== 'string'))
      throw new SyntaxError('not an address and its interface');
    return PersistentMap.from(addresses.map((entry) => [entry.address, entry.interface]));
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new SyntaxError(
      `${path}: ${words}: remove the file (what is on furiwake0, … is known without it), and take IPv6 addresses that furiwake added to other interfaces away by hand`,
      { cause: error },
    );
  }
}

const listOf = PersistentMap.makeText<string, string>(
  (name, address) => `${JSON.stringify({ address, interface: name } satisfies Stored['addresses'][number])},`,
);

/** Writes it as a whole; an empty record is no file. */
export async function writeRecord(files: Files, path: string, record: AddressRecord): Promise<void> {
  if (record.size === 0) await files.remove(path);
  else await files.write(path, `{"version":1,"addresses":[${listOf(record).slice(0, -1)}]}\n`);
}

/** The record for one that must go on, whatever became of the file. */
export type RecordFile = {
  /** As {@link readRecord}; what is no record of ours is said once and taken as empty: the next change writes it anew. */
  read(): Promise<AddressRecord>;
  write(record: AddressRecord): Promise<void>;
};

export function makeRecordFile({
  files,
  path,
  log,
}: {
  readonly files: Files;
  readonly path: string;
  readonly log: Log;
}): RecordFile {
  let hasComplained = false;
  return {
    read: async () => {
      try {
        const record = await readRecord(files, path);
        hasComplained = false;
        return record;
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error;
        if (!hasComplained) log.error({ err: error }, 'the record of our addresses is taken as empty');
        hasComplained = true;
        return PersistentMap.empty();
      }
    },
    write: (record) => writeRecord(files, path, record),
  };
}
