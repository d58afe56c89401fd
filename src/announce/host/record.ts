import type { Files } from '../../ports/files.ts';

/** The addresses that are on this host by our doing: text of the address → the interface that has it. */
export type AddressRecord = ReadonlyMap<string, string>;

/** Its form on the disk. */
type Stored = {
  readonly version: 1;
  readonly addresses: readonly { readonly address: string; readonly interface: string }[];
};

/** Reads the record; none is an empty one. Throws `SyntaxError` for a file that is no record of ours. */
export async function readRecord(files: Files, path: string): Promise<AddressRecord> {
  const text = await files.read(path);
  if (text === undefined) return new Map();
  const { version, addresses } = JSON.parse(text) as Partial<Stored>;
  if (version !== 1 || addresses === undefined) throw new SyntaxError(`${path}: not a record of version 1`);
  return new Map(addresses.map((entry) => [entry.address, entry.interface]));
}

/** Writes it as a whole; an empty record is no file. */
export async function writeRecord(files: Files, path: string, record: AddressRecord): Promise<void> {
  if (record.size === 0) return await files.remove(path);
  const stored: Stored = {
    version: 1,
    addresses: [...record].map(([address, name]) => ({ address, interface: name })),
  };
  await files.write(path, `${JSON.stringify(stored)}\n`);
}
