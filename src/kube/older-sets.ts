import { isNewer } from './resource-version.ts';
import { WatchError } from './watch-event.ts';

/** So long a full set that is older than what is known is asked for again. An API server that lags has caught up by then. */
const believedAfterMs = 30_000;

/** Notices a full set that is older than what the watch has delivered: objects made since then would seem to be deleted. */
export type OlderSets = {
  /** A version that the watch has delivered. */
  readonly note: (version: string) => void;
  /**
   * Throws `WatchError` (`outdated`) for a full set of this version, if it is older than what is known. After 30 s it is believed: etcd
   * was restored from a backup.
   */
  readonly check: (version: string) => void;
};

export function makeOlderSets(monotonic: () => number): OlderSets {
  let known = '';
  let sinceMs: number | undefined;
  return {
    note: (version) => {
      known = version;
    },
    check: (version) => {
      if (isNewer(known, version)) {
        sinceMs ??= monotonic();
        if (monotonic() - sinceMs < believedAfterMs)
          throw new WatchError(
            'outdated',
            `the API server sent all objects in an older state (version ${version}) than before (version ${known})`,
          );
      }
      sinceMs = undefined;
      known = version;
    },
  };
}
