import * as z from 'zod';
import { makeBackoff, waitLimits } from '../async/backoff.ts';
import { makeSerial } from '../async/serial.ts';
import { makeTrouble } from '../async/trouble.ts';
import { systemWords } from '../async/error-words.ts';
import type { AddressRecord } from '../core/addresses/assignment.ts';
import type { ListenerKey, ServiceKey, ServiceUid } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Clock } from '../ports/clock.ts';
import type { Files } from '../ports/files.ts';
import type { Ledger, LedgerRecords } from '../ports/ledger.ts';
import type { Log } from '../ports/log.ts';
import { ipText } from './decoders.ts';
import { makeMapFile, type MapFile } from './map-file.ts';
import { fileVersions } from './file-versions.ts';

const schema = z.object({
  uid: z.string().min(1),
  service: z.string(),
  addresses: z.array(ipText),
  hostAddresses: z.array(z.string()).optional(), // absent without any, and in files of earlier releases
  listeners: z.array(z.string()),
});

/** Each flush costs the disk a commit of its journal, for which other programs wait, too. */
const flushPauseMs = 200;

export type FileLedger = Ledger & Pick<MapFile<ServiceUid, AddressRecord>, 'assertVersion'>;

/**
 * The ledger of one load-balancer host: a file of its state directory. The statuses of the Services contain most of it;
 * this file also says which listener belongs to which Service, and is independent of a status that another client
 * cleared. A commit is flushed to the disk (`fdatasync`) at once, or 0.2 s after the last flush, but does not wait for it: a power
 * failure may lose the commits of the last moments, and the statuses have them. A commit is all or nothing, and one begins when the one
 * before has ended, also that of an earlier term of the Lease.
 */
export function makeFileLedger(deps: {
  readonly path: string;
  /** Of release 0.1.0. */
  readonly earlierPath: string;
  readonly files: Files;
  readonly clock: Clock;
  readonly log: Log;
}): FileLedger {
  const { path, files, clock, log } = deps;
  const file = makeMapFile<ServiceUid, AddressRecord>({
    ...deps,
    name: 'ledger',
    version: fileVersions.ledger,
    without: 'addresses are adopted from the statuses of the Services',
    encode: (record) => ({ ...record, addresses: record.addresses.map((ip) => ip.text) }),
    decode,
    earlier: { path: deps.earlierPath, decode },
  });
  const trouble = makeTrouble({ what: 'flushing the ledger to the disk', log, clock });
  const inTurn = makeSerial();
  let records: LedgerRecords = PersistentMap.empty();
  const backoff = makeBackoff(waitLimits.patient);
  let isDirty = false;
  let isSyncing = false;

  /** One flush at a time, one for all commits made meanwhile and in the pause after it; retries after growing waits. */
  const sync = async (signal: AbortSignal): Promise<void> => {
    isDirty = true;
    if (isSyncing) return;
    isSyncing = true;
    while (isDirty) {
      isDirty = false;
      try {
        await files.sync(path);
        backoff.reset();
        trouble.over();
        await clock.sleep(flushPauseMs, signal).catch(() => undefined); // aborted: the commits of the pause are flushed now
      } catch (error) {
        isDirty = true;
        trouble.failed(error);
        await clock.sleep(backoff.next(), signal).catch(() => undefined); // aborted
        if (signal.aborted) break;
      }
    }
    isSyncing = false;
  };

  return {
    read: () =>
      inTurn(async () => {
        records = (await file.read()) ?? PersistentMap.empty();
        return records;
      }),
    assertVersion: () => file.assertVersion(),
    commit: (changes, signal) =>
      inTurn(async () => {
        const next = records.with(changes);
        try {
          await file.write(next);
        } catch (error) {
          const words = systemWords(error); // users read it in the condition of a Service
          return new Map(Array.from(changes.keys(), (uid) => [uid, words]));
        }
        records = next;
        void sync(signal);
        return new Map();
      }),
  };
}

function decode(fields: unknown): readonly [ServiceUid, AddressRecord] {
  const { hostAddresses, ...saved } = schema.parse(fields);
  const uid = saved.uid as ServiceUid;
  return [
    uid,
    {
      ...saved,
      uid,
      service: saved.service as ServiceKey,
      ...(hostAddresses !== undefined && { hostAddresses }),
      listeners: saved.listeners as ListenerKey[],
    },
  ];
}
