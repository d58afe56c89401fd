import { untilAborted } from '../async/abort.ts';
import { type Alarm, makeAlarm } from '../async/alarm.ts';
import { waitAfter } from '../async/backoff.ts';
import { makeSubscribers } from '../async/subscribers.ts';
import { families, type Family, type Ip } from '../core/ip/ip.ts';
import type { ListenerKey, NodeName } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Clock } from '../ports/clock.ts';
import type { Gate, GatedListener } from '../ports/gate.ts';
import {
  allShown,
  nothingShown,
  processAfter,
  processInSilence,
  type ProxyProcess,
  shownBy,
  type ShownServed,
} from './kube-proxy-proof.ts';
import type { KubeProxy } from './kube-proxy-sync.ts';
import { isServed, isServedWidely, makePublicationTimes } from './publication-times.ts';

/** One family of a node. */
type Path = {
  /** `undefined` while the node is silent, or has no address. -Infinity: not silent since this process started. */
  upMs: number | undefined;
  /** The latest that was shown. It serves nothing else, but what it is resumed with. */
  served: ShownServed;
};

type GatedNode = {
  addresses: readonly Ip[];
  bootId: string | undefined;
  /** Requests without an answer: each time the other address is next, for kube-proxy may listen on one family only. */
  failures: number;
  readonly paths: Readonly<Record<Family, Path>>;
  readonly kubeProxy: KubeProxy;
  process: ProxyProcess | undefined;
  isAsked: boolean;
  readonly sinceMs: number;
  askedMs: number;
  /** The last change of the listeners. */
  changedMs: number;
  silentMs: number;
  /** The last event that makes a new sync likely. */
  newsMs: number;
};

/** Every 200 ms for 3 s, because kube-proxy syncs within a second or two; then at growing intervals. */
const firstWaitMs = 200;
const firstWaitsMs = 3_000;
const longestWaitMs = 5_000;
/** While no listener waits: until kube-proxy is known to have synced. Without an answer at growing intervals. */
const idleWaits = { firstMs: 5_000, mostMs: 60_000 };

/** When to ask next while a listener waits. */
function dueMs({ askedMs, newsMs }: GatedNode): number {
  return askedMs + Math.min(longestWaitMs, firstWaitMs + Math.max(0, askedMs - newsMs - firstWaitsMs) / 5);
}

/** The same while none does: what is known of the syncs before a publication proves one after it sooner. */
function idleDueMs({ askedMs, sinceMs, failures, process, paths }: GatedNode): number | undefined {
  if (process?.isStarted === true || families.every((family) => paths[family].upMs === undefined)) return undefined;
  return Math.max(askedMs, sinceMs) + waitAfter(failures + 1, idleWaits);
}

/**
 * Lets packets of a listener through to a node only when the kube-proxy of the node is shown to serve it. A packet that
 * arrives earlier is routed back, and leaves a conntrack entry without NAT that captures all later packets of its flow.
 *
 *            published, and a sync proves it (kube-proxy-proof.ts)          the node is silent
 *   closed ───────────────────────────────────────────────────────► open ─────────────────────► closed
 *     ▲                                                               │
 *     └───────────────────────────────────────────────────────────────┘
 *       not published, published again, another Service
 *
 * At the start nothing is open but what the table in the kernel has: an earlier process had the proof, and those flows live.
 *
 * A restart of kube-proxy closes nothing: its rules stay in the kernel. That of a node does, because the node is silent
 * meanwhile; it opens again after the first sync of its kube-proxy. A reboot that begins and ends while furiwake is stopped shows in the
 * boot ID of the node.
 */
export function makeGate(deps: { readonly makeKubeProxy: () => KubeProxy; readonly clock: Clock }): Gate {
  const { makeKubeProxy, clock } = deps;
  const subscribers = makeSubscribers<'opened' | undefined>();
  let listeners: PersistentMap<ListenerKey, GatedListener> = PersistentMap.empty();
  let nodes: ReadonlyMap<NodeName, GatedNode> = new Map();
  let running: { readonly alarm: Alarm; readonly signal: AbortSignal } | undefined;
  let isStart = true;
  /** Without the listeners that have changed since. */
  const resumed = new Map<ListenerKey, ReadonlySet<NodeName>>();
  const publications = { 4: makePublicationTimes(), 6: makePublicationTimes() };

  const isOpenOn = (key: ListenerKey, listener: GatedListener, name: NodeName, node: GatedNode): boolean => {
    const { upMs, served } = node.paths[listener.family];
    if (upMs === undefined || !served.hasRules || listener.publishedMs === undefined) return false;
    const isShown = isServed(listener, served) || resumed.get(key)?.has(name) === true;
    return isShown && isServedWidely(listener, served, name);
  };

  const hasOpen = (node: GatedNode, family: Family): boolean => {
    const { upMs, served } = node.paths[family];
    if (upMs === undefined) return false;
    return publications[family].hasServed(served) || (served.hasRules && resumed.size > 0);
  };

  /** Whether more is open now. */
  const learn = (node: GatedNode): boolean => {
    let hasOpened = false;
    for (const family of families) {
      const path = node.paths[family];
      if (node.process === undefined || path.upMs === undefined) continue;
      const before = path.served;
      path.served = allShown(before, shownBy(node.process, family, path.upMs));
      const isBack = !before.hasRules && hasOpen(node, family);
      hasOpened ||= isBack || publications[family].isMore(before, path.served);
    }
    return hasOpened;
  };

  /** An unpublished listener waits only for one answer, which shows the syncs from before its publication. */
  const isAwaited = (node: GatedNode): boolean => {
    const isUnknown = node.process === undefined || node.askedMs < node.changedMs;
    return families.some((family) => {
      const { upMs, served } = node.paths[family];
      if (upMs === undefined) return false;
      return publications[family].hasAwaited(served) || (isUnknown && publications[family].hasUnpublished());
    });
  };

  const ask = async (node: GatedNode, signal: AbortSignal): Promise<void> => {
    const address = node.addresses[node.failures % node.addresses.length];
    if (address === undefined) return;
    node.isAsked = true;
    node.askedMs = clock.monotonic();
    const answer = await node.kubeProxy.ask(address, signal).catch(() => undefined); // only that it was aborted
    node.isAsked = false;
    const known = node.process;
    const wasAnswering = isAnswering(node);
    // An answer to a request from before a silence may hide a restart.
    node.process = answer && answer.sentMs >= node.silentMs ? processAfter(known, answer) : undefined;
    if (node.process === undefined) node.failures++;
    else if (isNews(known, node.process)) node.newsMs = clock.monotonic();
    settle(isAnswering(node) === wasAnswering ? undefined : 'opened', [node]);
  };

  const schedule = (of: Iterable<GatedNode>): void => {
    if (running === undefined || running.signal.aborted) return;
    for (const node of of) {
      if (node.isAsked) continue;
      const atMs = isAwaited(node) ? dueMs(node) : idleDueMs(node);
      if (atMs === undefined) continue;
      if (atMs <= clock.monotonic()) void ask(node, running.signal);
      else running.alarm.setAt(atMs);
    }
  };

  /** After a change of the listeners, of the nodes or of what is known of these nodes. */
  const settle = (change: 'opened' | 'closed' | undefined, of: readonly GatedNode[]): void => {
    let told = change;
    for (const node of of) if (learn(node)) told ??= 'opened';
    schedule(of);
    if (told !== undefined) subscribers.tell(told === 'opened' ? told : undefined);
  };

  /** Whether it closes listeners. */
  const silence = (node: GatedNode, family: Family): boolean => {
    const path = node.paths[family];
    const wasOpen = hasOpen(node, family);
    path.upMs = undefined;
    path.served = { ...path.served, hasRules: false };
    node.silentMs = clock.monotonic();
    node.process &&= processInSilence(node.process, node.silentMs);
    return wasOpen;
  };

  /** A node that has all listeners in the table of an earlier process serves what was published by then; others see `isOpenOn`. */
  const resumedWhole = (name: NodeName, family: Family): ShownServed => {
    let { foundUntilMs } = nothingShown;
    for (const [key, { family: its, publishedMs, isFoundPublished }] of listeners) {
      if (its !== family || !isFoundPublished || publishedMs === undefined) continue;
      if (resumed.get(key)?.has(name) !== true) return nothingShown;
      foundUntilMs = Math.max(foundUntilMs, publishedMs);
    }
    return { ...nothingShown, foundUntilMs };
  };

  const makeNode = (name: NodeName): GatedNode => {
    const path = (family: Family): Path => ({
      upMs: undefined,
      served: isStart ? resumedWhole(name, family) : nothingShown,
    });
    return {
      addresses: [],
      bootId: undefined,
      failures: 0,
      paths: { 4: path(4), 6: path(6) },
      kubeProxy: makeKubeProxy(),
      process: undefined,
      isAsked: false,
      sinceMs: clock.monotonic(),
      askedMs: Number.NEGATIVE_INFINITY,
      changedMs: Number.NEGATIVE_INFINITY,
      silentMs: Number.NEGATIVE_INFINITY,
      newsMs: clock.monotonic(),
    };
  };

  return {
    resume: (open) => {
      for (const [key, names] of open) resumed.set(key, names);
    },
    setListeners: (next) => {
      let hasClosed = false;
      let hasChanged = false;
      for (const key of PersistentMap.changedKeys(listeners, next)) {
        const [before, now] = [listeners.get(key), next.get(key)];
        if (before !== undefined) publications[before.family].remove(before);
        if (now !== undefined) publications[now.family].add(now);
        const isSame = before !== undefined && now?.publishedMs === before.publishedMs;
        if (isSame && now?.widened === before.widened) continue;
        if (before !== undefined && now !== undefined)
          hasClosed ||= [...nodes].some(([name, node]) => isOpenOn(key, before, name, node));
        if (!isSame && (before !== undefined || !isStart)) resumed.delete(key);
        hasChanged ||= now !== undefined;
      }
      listeners = next;
      if (hasChanged) for (const node of nodes.values()) node.newsMs = node.changedMs = clock.monotonic();
      settle(hasClosed ? 'closed' : undefined, hasChanged ? [...nodes.values()] : []);
    },
    setNodes: (next) => {
      const before = nodes;
      nodes = new Map(Array.from(next.keys(), (name) => [name, before.get(name) ?? makeNode(name)]));
      let isChanged = false;
      for (const [name, node] of before) {
        if (nodes.get(name) === node) continue;
        for (const family of families) isChanged = silence(node, family) || isChanged;
        node.kubeProxy.close();
      }
      for (const [name, node] of nodes) {
        const { bootId, addresses } = next.get(name) ?? { bootId: undefined, addresses: [] };
        const up = addresses.filter(({ isUp }) => isUp).map(({ address }) => address);
        node.addresses = up;
        const hasRebooted = bootId !== undefined && node.bootId !== undefined && bootId !== node.bootId;
        node.bootId = bootId ?? node.bootId;
        for (const family of families) {
          const path = node.paths[family];
          const isUp = up.some((address) => address.family === family);
          // It has not been silent since the start. Otherwise its silence has closed the path.
          if (hasRebooted && path.upMs === Number.NEGATIVE_INFINITY) isChanged = silence(node, family) || isChanged;
          if (isUp === (path.upMs !== undefined)) continue;
          if (isUp) {
            path.upMs = isStart ? Number.NEGATIVE_INFINITY : clock.monotonic();
            if (isStart) path.served = { ...path.served, hasRules: true };
          } else isChanged = silence(node, family) || isChanged;
          node.newsMs = clock.monotonic();
        }
      }
      isStart &&= nodes.size === 0;
      settle(isChanged ? 'closed' : undefined, [...nodes.values()]);
    },
    isOpen: (key, name) => {
      const [gated, its] = [listeners.get(key), nodes.get(name)];
      return gated !== undefined && its !== undefined && isOpenOn(key, gated, name, its);
    },
    isAnswering: (name) => {
      const node = nodes.get(name);
      return node === undefined || isAnswering(node);
    },
    subscribe: subscribers.subscribe,
    run: async (signal) => {
      running = { signal, alarm: makeAlarm({ clock, signal, ring: () => schedule(nodes.values()) }) };
      schedule(nodes.values());
      await untilAborted(signal);
      for (const { kubeProxy } of nodes.values()) kubeProxy.close();
    },
  };
}

/** A node that was never asked counts as one that answers. */
function isAnswering({ process, failures }: GatedNode): boolean {
  return process !== undefined || failures === 0;
}

/** A new process or a sync: others may follow. */
function isNews(before: ProxyProcess | undefined, process: ProxyProcess): boolean {
  return (
    before === undefined ||
    before.sinceMs !== process.sinceMs ||
    families.some((family) => before.syncs?.[family]?.last.id !== process.syncs?.[family]?.last.id)
  );
}
