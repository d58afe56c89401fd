import * as z from 'zod';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import type { PlacementRecord, PlacementRecordFile } from '../ports/placement.ts';
import { makeMapFile } from './map-file.ts';
import { fileVersions } from './file-versions.ts';

const schema = z.object({ address: z.string(), interface: z.string() });
const earlierSchema = z.object({ version: z.literal(1), addresses: z.array(schema) });

const without = "the addresses on furiwake0, furiwake1 … are known without it; all others count as the host's own";

export function makePlacementRecord(deps: {
  readonly path: string;
  /** Of release 0.1.0. */
  readonly earlierPath: string;
  readonly files: Files;
  readonly log: Log;
}): PlacementRecordFile {
  const { earlierPath, files, log } = deps;
  const file = makeMapFile<string, string>({
    ...deps,
    name: 'placement',
    version: fileVersions.placement,
    without,
    encode: (name, address) => ({ address, interface: name }),
    decode: (fields) => {
      const entry = schema.parse(fields);
      return [entry.address, entry.interface];
    },
  });
  const readEarlier = async (): Promise<PlacementRecord> => {
    try {
      const text = await files.read(earlierPath);
      if (text === undefined) return PersistentMap.empty();
      const { addresses } = earlierSchema.parse(JSON.parse(text));
      return PersistentMap.from(addresses.map((entry) => [entry.address, entry.interface]));
    } catch (error) {
      log.error({ file: earlierPath, err: error }, `damaged record of addresses: ${without}`);
      return PersistentMap.empty();
    }
  };
  return {
    read: async () => (await file.read()) ?? (await readEarlier()),
    write: async (record) => {
      await file.write(record);
      await files.remove(earlierPath);
    },
  };
}
