import * as z from 'zod';
import { makeSerial } from '../async/serial.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Clock } from '../ports/clock.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import { makeMapFile } from '../state/map-file.ts';

/**
 * Other hosts that have ever held the Lease or waited for it. A host that has seen one withdraws when it can no longer
 * renew the Lease; a host that has always been alone continues to serve.
 */
export type Candidates = {
  hasOthers(): boolean;
  /** Remembers one, in memory and on the disk; logs a failing disk. */
  add(identity: string): Promise<void>;
};

const schema = z.object({ identity: z.string().min(1), seen: z.string() });

export async function loadCandidates(deps: {
  readonly path: string;
  readonly files: Files;
  readonly clock: Clock;
  readonly log: Log;
}): Promise<Candidates> {
  const { clock, log } = deps;
  const file = makeMapFile<string, string>({
    ...deps,
    name: 'candidates',
    version: 1,
    encode: (seen, identity) => ({ identity, seen }),
    decode: (fields) => {
      const { identity, seen } = schema.parse(fields);
      return [identity, seen];
    },
  });
  const serial = makeSerial();
  let known = (await file.read()) ?? PersistentMap.empty<string, string>();
  return {
    hasOthers: () => known.size > 0,
    add: async (identity) => {
      known = known.with([[identity, new Date(clock.now()).toISOString()]]);
      await serial(() => file.write(known)).catch((error: unknown) => {
        log.error({ err: error, identity }, 'could not record that another host serves this class');
      });
    },
  };
}
