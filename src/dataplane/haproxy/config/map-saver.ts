import { makeBackoff, waitLimits } from '../../../async/backoff.ts';
import { makeTrouble } from '../../../async/trouble.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Log } from '../../../ports/log.ts';
import type { Desired } from './desired.ts';
import type { HaproxyFiles } from './haproxy-files.ts';

/** `isDue`: false while the next attempt waits, after a failure or because the last one took long. */
export type MapSaver = { save(desired: Desired): Promise<void>; isDue(): boolean };

/**
 * Writes the map file. A failure is only logged, and the next attempts wait: a running worker has its entries by commands, and
 * one that starts gets those that the file lacks. So a file that changes all the time is written for a tenth of the time.
 */
export function makeMapSaver({
  haproxyFiles,
  clock,
  log,
}: {
  readonly haproxyFiles: Pick<HaproxyFiles, 'save'>;
  readonly clock: Clock;
  readonly log: Log;
}): MapSaver {
  const trouble = makeTrouble({ what: 'writing the map file', log, clock });
  const backoff = makeBackoff(waitLimits.patient);
  let dueMs = 0;
  return {
    isDue: () => clock.monotonic() >= dueMs,
    save: async (desired) => {
      const begunMs = clock.monotonic();
      try {
        await haproxyFiles.save(desired);
        dueMs = clock.monotonic() + (clock.monotonic() - begunMs) * 9;
        trouble.over();
        backoff.reset();
      } catch (error) {
        trouble.failed(error);
        dueMs = clock.monotonic() + backoff.next();
      }
    },
  };
}
