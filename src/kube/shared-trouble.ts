import { messageOf } from '../async/error-words.ts';
import { makeTrouble } from '../async/trouble.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { isKubeError } from './errors.ts';

/** One lasting failure of many requests, see `makeTrouble`. */
export type SharedTrouble<Key> = {
  /** The request for this key failed. */
  failed(key: Key, error: unknown, fields?: Readonly<Record<string, unknown>>): void;
  /** It succeeded. */
  over(key: Key): void;
  /** It is no longer needed. */
  drop(key: Key): void;
};

/**
 * The failure ends with the last key whose request failed: a server that takes every other request does not end it.
 * The log says that it works again only if a request for such a key has succeeded since the last one that failed.
 */
export function makeSharedTrouble<Key>({
  what,
  clock,
  log,
}: {
  readonly what: string;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly log: Log;
}): SharedTrouble<Key> {
  const trouble = makeTrouble({ what, log, clock });
  const failing = new Set<Key>();
  let hasSucceeded = false;
  const leave = (key: Key): void => {
    if (!failing.delete(key) || failing.size > 0) return;
    if (hasSucceeded) return trouble.over();
    trouble.drop();
    log.info({}, `${what} is no longer needed`);
  };
  return {
    failed: (key, error, fields) => {
      failing.add(key);
      hasSucceeded = false;
      // Without the path: a message for each object would not be one failure.
      trouble.failed(
        isKubeError(error) ? messageOf(error).replace(`${error.verb} ${error.path}: `, '') : error,
        fields,
      );
    },
    over: (key) => {
      hasSucceeded ||= failing.has(key);
      leave(key);
    },
    drop: leave,
  };
}
