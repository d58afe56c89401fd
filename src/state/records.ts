import * as z from 'zod';
import type { AddressRecord } from '../core/addresses/assignment.ts';
import { type Ip, parseIp } from '../core/ip/ip.ts';
import type { ListenerKey, ServiceKey, ServiceUid } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Files } from '../ports/files.ts';
import { makeMapFile } from './map-file.ts';

/**
 * Which Service has which address, on disk, written before anything is programmed or published. The status of the
 * Services says most of it too; this file also remembers which listener was whose, and survives a status that
 * somebody emptied.
 */
export type RecordFile = {
  /** Throws when the file is there and cannot be read: then nothing must be handed out. */
  read(): Promise<PersistentMap<ServiceUid, AddressRecord>>;
  write(records: PersistentMap<ServiceUid, AddressRecord>): Promise<void>;
};

const schema = z.object({
  uid: z.string().min(1),
  service: z.string(),
  addresses: z.array(z.string()),
  listeners: z.array(z.string()),
});

export function makeRecordFile({ path, files }: { readonly path: string; readonly files: Files }): RecordFile {
  const file = makeMapFile<ServiceUid, AddressRecord>({
    path,
    files,
    encode: (record) => ({ ...record, addresses: record.addresses.map((ip) => ip.text) }),
    decode: (fields) => {
      const record = decode(fields);
      return [record.uid, record];
    },
  });
  return {
    read: async () => {
      try {
        return (await file.read()) ?? PersistentMap.empty();
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error;
        throw new Error(
          `${error.message}: restore the file from a backup, or remove it (addresses are then taken from the Services' status)`,
          { cause: error },
        );
      }
    },
    write: (records) => file.write(records),
  };
}

function decode(fields: unknown): AddressRecord {
  const saved = schema.parse(fields);
  const addresses = saved.addresses.map((text): Ip => {
    const ip = parseIp(text);
    if (ip === undefined) throw new Error(`${text} is no IP address`);
    return ip;
  });
  return {
    uid: saved.uid as ServiceUid,
    service: saved.service as ServiceKey,
    addresses,
    listeners: saved.listeners as ListenerKey[],
  };
}
