import { untilAborted } from '../async/abort.ts';
import { type Alarm, makeAlarm } from '../async/alarm.ts';
import { makeSubscribers } from '../async/subscribers.ts';
import type { Family, Ip } from '../core/ip/ip.ts';
import type { ListenerKey, NodeName } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Clock } from '../ports/clock.ts';
import type { Gate, GatedListener, OpenNodes } from '../ports/gate.ts';
import { isProven, processAfter, processInSilence, type ProxyProcess } from './kube-proxy-proof.ts';
import type { KubeProxy } from './kube-proxy-sync.ts';

/** One family of a node. */
type Path = {
  /** `undefined` while the node is silent, or has no address. -Infinity: not silent since this process started. */
  upMs: number | undefined;
  readonly open: Set<ListenerKey>;
  /** The value: it was open before the node was silent. */
  readonly closed: Map<ListenerKey, boolean>;
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
const idleWaitMs = 5_000;
const longestIdleWaitMs = 60_000;

/** When to ask next while a listener waits. */
function dueMs({ askedMs, newsMs }: GatedNode): number {
  return askedMs + Math.min(longestWaitMs, firstWaitMs + Math.max(0, askedMs - newsMs - firstWaitsMs) / 5);
}

/** The same while none does: what is known of the syncs before a publication proves one after it sooner. */
function idleDueMs({ askedMs, sinceMs, failures, process, paths }: GatedNode): number | undefined {
  if (process?.isStarted === true || families.every((family) => paths[family].upMs === undefined)) return undefined;
  return Math.max(askedMs, sinceMs) + Math.min(longestIdleWaitMs, idleWaitMs * 2 ** failures);
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
  const subscribers = makeSubscribers();
  let listeners: PersistentMap<ListenerKey, GatedListener> = PersistentMap.empty();
  let nodes: ReadonlyMap<NodeName, GatedNode> = new Map();
  let running: { readonly alarm: Alarm; readonly signal: AbortSignal } | undefined;
  let isStart = true;
  let resumed: OpenNodes = new Map();

  const isProvenOn = (node: GatedNode, family: Family, key: ListenerKey): boolean => {
    const { upMs, closed } = node.paths[family];
    const { publishedMs, isFoundPublished = false } = listeners.get(key) ?? {};
    if (upMs === undefined || publishedMs === undefined) return false;
    const wasOpen = closed.get(key) === true;
    if (wasOpen && upMs === Number.NEGATIVE_INFINITY) return true; // in the table of an earlier process
    return (
      node.process !== undefined && isProven(node.process, { family, publishedMs, isFoundPublished, upMs, wasOpen })
    );
  };

  const openProven = (node: GatedNode): boolean => {
    let isChanged = false;
    for (const family of families) {
      const { open, closed } = node.paths[family];
      for (const listener of closed.keys()) {
        if (!isProvenOn(node, family, listener)) continue;
        closed.delete(listener);
        open.add(listener);
        isChanged = true;
      }
    }
    return isChanged;
  };

  /** An unpublished listener waits only for one answer, which shows the syncs from before its publication. */
  const isAwaited = (node: GatedNode): boolean => {
    const isUnknown = node.process === undefined || node.askedMs < node.changedMs;
    for (const family of families) {
      const { upMs, closed } = node.paths[family];
      if (upMs === undefined) continue;
      for (const key of closed.keys()) if (isUnknown || listeners.get(key)?.publishedMs !== undefined) return true;
    }
    return false;
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
    settle(isAnswering(node) !== wasAnswering, [node]);
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
  const settle = (wasChanged: boolean, of: readonly GatedNode[]): void => {
    let isChanged = wasChanged;
    for (const node of of) isChanged = openProven(node) || isChanged;
    schedule(of);
    if (isChanged) subscribers.tell();
  };

  const silence = (node: GatedNode, path: Path): void => {
    path.upMs = undefined;
    for (const key of path.open) path.closed.set(key, true);
    path.open.clear();
    node.silentMs = clock.monotonic();
    node.process &&= processInSilence(node.process, node.silentMs);
  };

  const makeNode = (name: NodeName): GatedNode => {
    const closedOf = (family: Family): Path['closed'] =>
      new Map(
        Array.from(listeners)
          .filter(([, listener]) => listener.family === family)
          .map(([key]) => [key, resumed.get(key)?.has(name) === true]),
      );
    const path = (family: Family): Path => ({ upMs: undefined, open: new Set(), closed: closedOf(family) });
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
      resumed = open;
    },
    setListeners: (next) => {
      const isSame = (key: ListenerKey): boolean => listeners.get(key)?.publishedMs === next.get(key)?.publishedMs;
      const differing = PersistentMap.changedKeys(listeners, next);
      const gone = differing.filter((key) => !next.has(key));
      const changed = differing.filter((key) => next.has(key) && !(listeners.has(key) && isSame(key)));
      let isChanged = false;
      for (const node of nodes.values()) {
        for (const key of gone)
          for (const family of families) {
            node.paths[family].open.delete(key);
            node.paths[family].closed.delete(key);
          }
        for (const key of changed) {
          const { open, closed } = node.paths[next.get(key)?.family ?? 4];
          isChanged = open.delete(key) || isChanged;
          closed.set(key, false);
        }
        if (changed.length > 0) node.newsMs = node.changedMs = clock.monotonic();
      }
      listeners = next;
      settle(isChanged, changed.length > 0 ? [...nodes.values()] : []);
    },
    setNodes: (next) => {
      const before = nodes;
      nodes = new Map(Array.from(next.keys(), (name) => [name, before.get(name) ?? makeNode(name)]));
      let isChanged = false;
      for (const [name, node] of before) {
        if (nodes.get(name) === node) continue;
        for (const family of families) {
          isChanged ||= node.paths[family].open.size > 0;
          node.paths[family].upMs = undefined;
        }
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
          if (hasRebooted && path.upMs === Number.NEGATIVE_INFINITY) {
            isChanged ||= path.open.size > 0;
            silence(node, path);
          }
          if (isUp === (path.upMs !== undefined)) continue;
          if (isUp) path.upMs = isStart ? Number.NEGATIVE_INFINITY : clock.monotonic();
          else {
            isChanged ||= path.open.size > 0;
            silence(node, path);
          }
          node.newsMs = clock.monotonic();
        }
      }
      isStart &&= nodes.size === 0;
      if (!isStart) resumed = new Map();
      settle(isChanged, [...nodes.values()]);
    },
    isOpen: (listener, node) => {
      const family = listeners.get(listener)?.family;
      return family !== undefined && nodes.get(node)?.paths[family].open.has(listener) === true;
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

const families = [4, 6] as const;

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
