import { unlessAborted } from '../../src/async/abort.ts';
import { makeSubscribers } from '../../src/async/subscribers.ts';
import type { Family } from '../../src/core/ip/ip.ts';
import type { ListenerKey } from '../../src/core/model/names.ts';
import type { DirectObstacles } from '../../src/core/traffic/report.ts';
import { emptyTable, type Listener, type TrafficTable } from '../../src/core/traffic/table.ts';
import type { Direct } from '../../src/ports/direct.ts';

/** The kernel of the `direct` dataplane, in memory. */
export type FakeDirect = {
  readonly direct: Direct;
  /** The listeners in the kernel; a test may change them like another program. */
  held: TrafficTable['listeners'];
  /** No node is known to serve any listener, from now on, or all are. `why`: the obstacles, if there are any. */
  setClosed(isClosed: boolean, why?: DirectObstacles): void;
  /** The host has nodes on a LAN, in these families. */
  setOnLink(families: ReadonlySet<Family>): void;
};

/** `refuse` returns nft's message for a refused listener. `step` is awaited at the start of each call. */
export function makeFakeDirect({
  refuse = () => undefined,
  step = async () => undefined,
}: {
  readonly refuse?: (listener: Listener) => string | undefined;
  readonly step?: (name: 'apply' | 'audit') => Promise<void>;
} = {}): FakeDirect {
  let accepted = emptyTable.listeners;
  let isClosed = false;
  let onLink: ReadonlySet<Family> = new Set();
  let obstacles: DirectObstacles = new Map();
  const subscribers = makeSubscribers();
  const fake: FakeDirect = {
    held: emptyTable.listeners,
    setClosed: (next, why = new Map()) => {
      isClosed = next;
      obstacles = why;
      subscribers.tell();
    },
    setOnLink: (families) => {
      onLink = families;
      subscribers.tell();
    },
    direct: {
      isForwarding: (key) => !isClosed && accepted.has(key),
      onLink: () => onLink,
      obstacles: () => obstacles,
      onForwarding: subscribers.subscribe,
      apply: async ({ listeners }, signal) => {
        await step('apply');
        signal.throwIfAborted();
        const refusals = new Map<ListenerKey, string>();
        for (const listener of listeners.values()) {
          if (listener.dataplane !== 'direct') continue;
          const words = listener.protocol === 'SCTP' ? `${listener.key}: direct does not serve SCTP` : refuse(listener);
          if (words !== undefined) refusals.set(listener.key, words);
        }
        const others = [...listeners.values()].filter(({ dataplane }) => dataplane !== 'direct');
        accepted = listeners
          .with(others.map(({ key }) => [key, undefined]))
          .with(Array.from(refusals.keys(), (key) => [key, accepted.get(key)]));
        fake.held = accepted;
        return refusals;
      },
      counters: () => Promise.reject(new Error('not asked here')),
      audit: async (signal) => {
        await step('audit');
        signal.throwIfAborted();
        const repairs = fake.held === accepted ? 0 : 1;
        fake.held = accepted;
        return repairs;
      },
      run: (signal) => unlessAborted(new Promise<never>(() => undefined), signal),
      remove: async () => {
        accepted = emptyTable.listeners;
        fake.held = accepted;
      },
    },
  };
  return fake;
}
