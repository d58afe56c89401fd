import { waitLimits } from '../async/backoff.ts';
import * as z from 'zod';
import { makeLatch } from '../async/latch.ts';
import { runWhenSet } from '../async/run-when-set.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Clock } from '../ports/clock.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import { makeMapFile } from '../state/map-file.ts';
import { fileVersions } from '../state/file-versions.ts';

/**
 * Other hosts that have ever held the Lease or waited for it. A host that has seen one withdraws when it can no longer
 * renew the Lease; a host that has always been alone continues to serve.
 */
export type Candidates = {
  hasOthers(): boolean;
  /** Remembers one at once; `run` writes it to the disk. */
  add(identity: string): void;
  /** Writes to the disk until `signal` aborts; a failed write is repeated after growing waits. */
  run(signal: AbortSignal): Promise<void>;
};

const schema = z.object({ identity: z.string().min(1), seen: z.string() });

export async function loadCandidates(deps: {
  readonly path: string;
  readonly files: Files;
  readonly clock: Clock;
  readonly log: Log;
}): Promise<Candidates> {
  const { path, files, clock, log } = deps;
  const file = makeMapFile<string, string>({
    ...deps,
    name: 'candidates',
    version: fileVersions.candidates,
    without: 'another host is assumed, so this one withdraws when it cannot renew the Lease',
    encode: (seen, identity) => ({ identity, seen }),
    decode: (fields) => {
      const { identity, seen } = schema.parse(fields);
      return [identity, seen];
    },
  });
  const due = makeLatch();
  // Only a host that has seen another one has the file, whatever is still readable in it.
  const hasSeenOne = await files.exists(path);
  let known = (await file.read()) ?? PersistentMap.empty<string, string>();
  return {
    hasOthers: () => hasSeenOne || known.size > 0,
    add: (identity) => {
      known = known.with([[identity, new Date(clock.now()).toISOString()]]);
      due.set();
    },
    run: (signal) =>
      runWhenSet({
        what: 'recording that another host serves this class',
        due,
        work: () => file.write(known),
        retry: waitLimits.patient,
        clock,
        log,
        level: 'error',
        signal,
      }),
  };
}
