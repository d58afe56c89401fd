import { messageOf } from '../async/error-words.ts';
import { makeTrouble } from '../async/trouble.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { isKubeError } from './errors.ts';

/** One lasting failure of many requests, see `makeTrouble`. */
export type SharedTrouble<Key> = {
  /** The request for this key failed. */
  failed(key: Key, error: unknown, fields?: Readonly<Record<string, unknown>>): void;
  /** It succeeded, or is no longer needed. */
  over(key: Key): void;
};

/** The failure ends with the last key whose request failed: a server that takes every other request does not end it. */
export function makeSharedTrouble<Key>({
  what,
  clock,
  log,
}: {
  readonly what: string;
  readonly clock: Clock;
  readonly log: Log;
}): SharedTrouble<Key> {
  const trouble = makeTrouble({ what, log, clock });
  const failing = new Set<Key>();
  return {
    failed: (key, error, fields) => {
      failing.add(key);
      // Without the path: a message for each object would not be one failure.
      trouble.failed(
        isKubeError(error) ? messageOf(error).replace(`${error.verb} ${error.path}: `, '') : error,
        fields,
      );
    },
    over: (key) => {
      if (failing.delete(key) && failing.size === 0) trouble.over();
    },
  };
}
