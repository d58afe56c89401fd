import { isDeepStrictEqual } from 'node:util';
import { makeSubscribers } from '../../async/subscribers.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { Direct } from '../../ports/direct.ts';
import type { Refusals } from '../../ports/host.ts';
import type { DirectProgram } from './table/program.ts';

/** What `direct` reports of the program in force. */
export type ForwardingReport = Pick<Direct, 'isForwarding' | 'onLink' | 'obstacles' | 'onForwarding'> & {
  /** After each program. Refused listeners stay as they were. Notifies subscribers if an answer differs. */
  set(
    planned: { readonly groups: DirectProgram['groups']; readonly refusals: Refusals<ListenerKey> },
    obstacles: ReturnType<Direct['obstacles']>,
    onLink: ReturnType<Direct['onLink']>,
  ): void;
};

export function makeForwardingReport(): ForwardingReport {
  const subscribers = makeSubscribers<readonly ListenerKey[]>();
  let groups: DirectProgram['groups'] = PersistentMap.empty();
  let obstacles: ReturnType<Direct['obstacles']> = new Map();
  let onLink: ReturnType<Direct['onLink']> = new Set();
  return {
    isForwarding: (key) => groups.has(key),
    obstacles: () => obstacles,
    onLink: () => onLink,
    onForwarding: subscribers.subscribe,
    set: (planned, nextObstacles, nextOnLink) => {
      const before = { groups, obstacles, onLink };
      groups = planned.groups.with(Array.from(planned.refusals.keys(), (key) => [key, before.groups.get(key)]));
      if (!isDeepStrictEqual(nextObstacles, obstacles)) obstacles = nextObstacles;
      if (!isDeepStrictEqual(nextOnLink, onLink)) onLink = nextOnLink;
      const changed = PersistentMap.changedKeys(before.groups, groups).filter(
        (key) => groups.has(key) !== before.groups.has(key),
      );
      if (changed.length > 0 || obstacles !== before.obstacles || onLink !== before.onLink) subscribers.tell(changed);
    },
  };
}
