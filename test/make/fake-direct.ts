import { isDeepStrictEqual } from 'node:util';
import { unlessAborted } from '../../src/async/abort.ts';
import { makeSubscribers } from '../../src/async/subscribers.ts';
import type { Family } from '../../src/core/ip/ip.ts';
import type { ListenerKey } from '../../src/core/model/names.ts';
import type { DirectObstacles } from '../../src/core/traffic/report.ts';
import { makeServerlessIndex } from '../../src/core/traffic/serverless.ts';
import {
  addressOfNode,
  backendOf,
  emptyTable,
  type Listener,
  type TrafficTable,
} from '../../src/core/traffic/table.ts';
import type { Direct, DirectCounters } from '../../src/ports/direct.ts';
import type { Refusals } from '../../src/ports/host.ts';
import { type FakeOutage, makeFakeOutage } from './fake-outage.ts';

/** The kernel of the `direct` dataplane, in memory. Keeps to the contract of its port (test/contract/direct.ts). */
export type FakeDirect = {
  /** A test begins and ends it. */
  readonly outage: FakeOutage;
  readonly direct: Direct;
  /** The listeners in the kernel; a test may change them like another program. */
  held: TrafficTable['listeners'];
  /** What the kernel has counted, of listeners that have any traffic. */
  readonly counted: Map<ListenerKey, DirectCounters>;
  /** No node is known to serve any listener, from now on, or all are. `why`: the obstacles, if there are any. */
  setClosed(isClosed: boolean, why?: DirectObstacles): void;
  /** The addresses of the nodes in these families are on links of the host; at the start in none. */
  setOnLink(families: ReadonlySet<Family>): void;
  /** Whether the listener has no server at all, so that its new flows go up the stack. */
  isServerless(listener: ListenerKey): boolean;
};

/** What `direct` says of itself. */
type Shown = {
  readonly forwarding: ReadonlySet<ListenerKey>;
  readonly onLink: ReadonlySet<Family>;
  readonly obstacles: DirectObstacles;
};

const none: DirectCounters = { flows: 0, packets: 0, bytes: 0, refused: 0 };

/** `refuse` returns nft's message for a refused listener. `step` is awaited at the start of each call; its exception fails it. */
export function makeFakeDirect({
  refuse = () => undefined,
  step = async () => undefined,
}: {
  readonly refuse?: (listener: Listener) => string | undefined;
  readonly step?: (name: 'prepare' | 'apply' | 'audit' | 'check') => Promise<void>;
} = {}): FakeDirect {
  let accepted = emptyTable;
  let isFirst = true;
  let isClosed = false;
  let linked: ReadonlySet<Family> = new Set();
  let obstacles: DirectObstacles = new Map();
  let shown: Shown = { forwarding: new Set(), onLink: new Set(), obstacles: new Map() };
  const subscribers = makeSubscribers<readonly ListenerKey[]>();

  const isForwarding = ({ backend, address: { family }, isPublished }: Listener): boolean =>
    isPublished &&
    !isClosed &&
    linked.has(family) &&
    backendOf(accepted, backend, family).servers.some(
      ({ node, isDraining }) => !isDraining && accepted.nodes.get(node)?.state === 'active',
    );
  const update = (): void => {
    const { listeners, nodes } = accepted;
    const forwarding = [...listeners.values()].filter(isForwarding).map(({ key }) => key);
    const families = [...linked].filter((family) => [...nodes.values()].some((node) => addressOfNode(node, family)));
    const next: Shown = {
      forwarding: new Set(forwarding),
      onLink: new Set(families),
      obstacles: listeners.size === 0 ? new Map() : obstacles,
    };
    if (isDeepStrictEqual(next, shown)) return;
    const same = (part: 'onLink' | 'obstacles'): boolean => isDeepStrictEqual(next[part], shown[part]);
    const before = shown.forwarding;
    shown = {
      forwarding: next.forwarding,
      onLink: same('onLink') ? shown.onLink : next.onLink,
      obstacles: same('obstacles') ? shown.obstacles : next.obstacles,
    };
    subscribers.tell([...before, ...forwarding].filter((key) => before.has(key) !== next.forwarding.has(key)));
  };
  const setAccepted = (next: TrafficTable): void => {
    accepted = next;
    fake.held = next.listeners;
    update();
  };

  const accept = (table: TrafficTable, signal: AbortSignal): Refusals<ListenerKey> => {
    signal.throwIfAborted();
    isFirst = false;
    const refusals = new Map<ListenerKey, string>();
    for (const listener of table.listeners.values()) {
      if (listener.dataplane !== 'direct') continue;
      const words = refuse(listener);
      if (words !== undefined) refusals.set(listener.key, words);
    }
    const others = [...table.listeners.values()].filter(({ dataplane }) => dataplane !== 'direct');
    const listeners = table.listeners
      .with(others.map(({ key }) => [key, undefined]))
      .with(Array.from(refusals.keys(), (key) => [key, accepted.listeners.get(key)]));
    setAccepted({ ...table, listeners });
    return refusals;
  };

  const outage = makeFakeOutage();
  const fake: FakeDirect = {
    outage,
    held: emptyTable.listeners,
    counted: new Map(),
    setClosed: (next, why = new Map()) => {
      isClosed = next;
      obstacles = why;
      update();
    },
    setOnLink: (families) => {
      linked = families;
      update();
    },
    isServerless: (key) => makeServerlessIndex()(accepted).has(key),
    direct: {
      outage,
      isForwarding: (key) => shown.forwarding.has(key),
      onLink: () => shown.onLink,
      obstacles: () => shown.obstacles,
      onForwarding: subscribers.subscribe,
      noteFacts: () => undefined,
      prepare: async (table, signal) => {
        await step('prepare');
        return isFirst ? accept(table, signal) : new Map();
      },
      apply: async (table, signal) => {
        await step('apply');
        return accept(table, signal);
      },
      counters: async (signal, keys = accepted.listeners.keys()) => {
        signal.throwIfAborted();
        const wanted = [...keys].filter((key) => accepted.listeners.has(key));
        return new Map(wanted.map((key) => [key, fake.counted.get(key) ?? none]));
      },
      audit: async (signal) => {
        await step('audit');
        signal.throwIfAborted();
        const repairs = fake.held === accepted.listeners ? 0 : 1;
        fake.held = accepted.listeners;
        return repairs;
      },
      check: async (signal) => {
        await step('check');
        signal.throwIfAborted();
        return 0;
      },
      run: (signal) => unlessAborted(new Promise<never>(() => undefined), signal),
      remove: async () => {
        const wasThere = accepted.listeners.size > 0;
        setAccepted(emptyTable);
        return wasThere;
      },
    },
  };
  return fake;
}
