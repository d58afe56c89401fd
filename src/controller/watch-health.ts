import { messageOf } from '../async/error-words.ts';
import type { WatchEvent } from '../kube/watch-event.ts';

/** Whether one watch works, by its events. */
export type WatchHealth = {
  /** An event of the watch. */
  readonly note: (event: WatchEvent<unknown>) => void;
  /** The API server has accepted the watch; whether it lasts is not known yet. */
  readonly noteAccepted: () => void;
  /** The API server has accepted the watch, and no error came since. */
  readonly isAccepted: () => boolean;
  /** For how long it has failed, ms, and why; `undefined`: it works. */
  readonly failure: () => { readonly lastsMs: number; readonly words: string } | undefined;
};

/** An accepted watch works after this long without an event: it may break again at once, and bookmarks take a minute. */
export const provenMs = 10_000;

export function makeWatchHealth(monotonic: () => number): WatchHealth {
  let failing: { readonly sinceMs: number; readonly words: string } | undefined;
  let acceptedAtMs: number | undefined;
  const works = (): boolean => acceptedAtMs !== undefined && monotonic() - acceptedAtMs >= provenMs;
  return {
    note: (event) => {
      if (event.type === 'error') {
        const sinceMs = failing === undefined || works() ? monotonic() : failing.sinceMs;
        failing = { sinceMs, words: messageOf(event.error) };
        acceptedAtMs = undefined;
      } else if (['apply', 'delete', 'bookmark', 'initDone'].includes(event.type)) failing = undefined;
    },
    noteAccepted: () => {
      acceptedAtMs = monotonic();
    },
    isAccepted: () => acceptedAtMs !== undefined,
    failure: () =>
      failing === undefined || works() ? undefined : { lastsMs: monotonic() - failing.sinceMs, words: failing.words },
  };
}
