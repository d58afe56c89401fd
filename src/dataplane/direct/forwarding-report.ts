import { isDeepStrictEqual } from 'node:util';
import { makeSubscribers } from '../../async/subscribers.ts';
import type { Direct } from '../../ports/direct.ts';
import type { DirectProgram } from './program.ts';

/** What `direct` reports of the program in force. */
export type ForwardingReport = Pick<Direct, 'isForwarding' | 'onLink' | 'obstacles' | 'onForwarding'> & {
  /** After each program. Calls the subscribers if an answer differs. */
  set(
    groups: DirectProgram['groups'],
    obstacles: ReturnType<Direct['obstacles']>,
    onLink: ReturnType<Direct['onLink']>,
  ): void;
};

export function makeForwardingReport(): ForwardingReport {
  const subscribers = makeSubscribers();
  let groups: DirectProgram['groups'] = new Map();
  let obstacles: ReturnType<Direct['obstacles']> = new Map();
  let onLink: ReturnType<Direct['onLink']> = new Set();
  return {
    isForwarding: (key) => groups.has(key),
    obstacles: () => obstacles,
    onLink: () => onLink,
    onForwarding: subscribers.subscribe,
    set: (nextGroups, nextObstacles, nextOnLink) => {
      const before = { groups, obstacles, onLink };
      groups = nextGroups;
      if (!isDeepStrictEqual(nextObstacles, obstacles)) obstacles = nextObstacles;
      if (!isDeepStrictEqual(nextOnLink, onLink)) onLink = nextOnLink;
      const isSame = groups.size === before.groups.size && [...groups.keys()].every((key) => before.groups.has(key));
      if (!isSame || obstacles !== before.obstacles || onLink !== before.onLink) subscribers.tell();
    },
  };
}
