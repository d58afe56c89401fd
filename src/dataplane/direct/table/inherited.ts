import type { Family } from '../../../core/ip/ip.ts';
import type { ListenerKey, NodeName, ServiceUid } from '../../../core/model/names.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import {
  backendOf,
  emptyTable,
  type Listener,
  type Listeners,
  stackDataplane,
  type TrafficTable,
  withdrawnRanges,
} from '../../../core/traffic/table.ts';
import { type DirectProgram, withoutGroups } from './program.ts';

/** After this time the kernel ends the state by itself. `seen` keeps the SYN of a connection of HAProxy for as long. */
export const inheritedSeconds = 10;
/** kube-proxies are shown to serve what was published before after five seconds, and to answer clients a moment later. */
const waitMs = 8_000;
/** A listener that no node serves then stays in this state for a moment longer than in the kernel. */
const keepMs = (inheritedSeconds + 2) * 1_000;

/**
 * Listeners that this host has not served by `direct`: it has just taken over from another host, or was rebooted. Nodes may have
 * connections of them, which continue if each node gets the packets of its own. So these listeners get all of their nodes at once: the
 * first one alone would get the packets of all connections, and reset those that it does not have. Until then HAProxy serves new
 * connections, and packets of others are dropped, not reset.
 *
 * While the kernel has the state, a node that opens gets the packets of connections that are not in `seen`. So the listener stays in the
 * table for as long, where each SYN for HAProxy is noted there.
 */
export type Inherited = {
  /** These listeners of `direct` have no flow at a stand-in. */
  begin(listeners: Iterable<Listener>, nowMs: number): void;
  /**
   * Begins with the listeners of Services that this host meets only now, and that are published: another host did. If this host was
   * withdrawn, other ports of a Service that it knows are met as well. Returns them.
   */
  follow(before: Listeners, after: Listeners, nowMs: number): ReadonlySet<ListenerKey>;
  /** Without groups that lack a node that may open, and the listeners with a stand-in whose group is awaited. */
  settle(state: {
    readonly table: TrafficTable;
    readonly groups: DirectProgram['groups'];
    /** False: something keeps the node from being a next hop. */
    readonly mayOpen: (node: NodeName, family: Family) => boolean;
    readonly nowMs: number;
  }): {
    readonly groups: DirectProgram['groups'];
    readonly inherited: ReadonlySet<ListenerKey>;
    /** When the first of them is waited for no longer; `Infinity` without any. */
    readonly untilMs: number;
  };
};

export function makeInherited(): Inherited {
  const waits = new Map<ListenerKey, InheritedWait>();
  const begin = (listeners: Iterable<Listener>, nowMs: number): void => {
    for (const { key, uid } of listeners) waits.set(key, { uid, sinceMs: nowMs, isInKernel: false });
  };
  return {
    begin,
    follow: (before, after, nowMs) => {
      const added = PersistentMap.changedKeys(before, after)
        .flatMap((key) => (before.has(key) ? [] : (after.get(key) ?? [])))
        .filter(isServed);
      const known = new Set(added.length === 0 ? [] : Array.from(before.values(), ({ uid }) => uid));
      for (const { uid } of waits.values()) known.delete(uid);
      const wasWithdrawn = added.length > 0 && isOnNoAddress(before);
      // Not those of a new port.
      const met = added.filter(({ uid, isHostAddress }) => !known.has(uid) || (wasWithdrawn && !isHostAddress));
      begin(met, nowMs);
      return new Set(met.map(({ key }) => key));
    },
    settle: ({ table, groups, mayOpen, nowMs }) => {
      const inherited = new Set<ListenerKey>();
      for (const [key, wait] of waits) {
        const listener = table.listeners.get(key);
        if (listener?.uid !== wait.uid || listener.dataplane !== 'direct' || nowMs - wait.sinceMs >= keepMs) {
          waits.delete(key);
          continue;
        }
        const { family } = listener.address;
        const awaited = backendOf(table, listener.backend, family).servers.filter(({ node }) => mayOpen(node, family));
        const open = groups.get(key)?.open.length ?? 0;
        const isOver = awaited.length <= open || nowMs - wait.sinceMs >= waitMs;
        if (isOver && (open > 0 || !wait.isInKernel)) waits.delete(key);
        else if (listener.protocol === 'TCP' && stackDataplane(listener) !== undefined) {
          inherited.add(key);
          wait.isInKernel = true;
        }
      }
      return {
        ...withoutGroups({ groups }, new Set(waits.keys())),
        inherited,
        untilMs: Math.min(
          Number.POSITIVE_INFINITY,
          ...Array.from(waits.values(), ({ sinceMs }) => sinceMs + (nowMs - sinceMs < waitMs ? waitMs : keepMs)),
        ),
      };
    },
  };
}

/** Those that `direct` serves now, and that another dataplane had when this host was withdrawn: another host may have moved them. */
export function movedMeanwhile(before: Listeners, after: Listeners): Listeners {
  const moved = PersistentMap.changedKeys(before, after).filter((key) => {
    const [had, listener] = [before.get(key), after.get(key)];
    return listener !== undefined && isServed(listener) && had?.uid === listener.uid && isWithdrawn(had);
  });
  return emptyTable.listeners.with(moved.map((key) => [key, after.get(key)]));
}

function isServed({ dataplane, isPublished }: Listener): boolean {
  return dataplane === 'direct' && isPublished;
}

/** As those of a withdrawn host, or of one that has only its own addresses. */
function isOnNoAddress(listeners: Listeners): boolean {
  return [...listeners.values()].every(({ isHostAddress }) => isHostAddress);
}

/** One of `direct` takes packets on a withdrawn host, too. */
function isWithdrawn({ dataplane, sourceRanges }: Listener): boolean {
  return dataplane !== 'direct' && sourceRanges === withdrawnRanges;
}

type InheritedWait = {
  readonly uid: ServiceUid;
  readonly sinceMs: number;
  /** A program had it in this state. */
  isInKernel: boolean;
};
