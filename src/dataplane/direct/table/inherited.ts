import type { Family } from '../../../core/ip/ip.ts';
import type { ListenerKey, NodeName, ServiceUid } from '../../../core/model/names.ts';
import { backendOf, type Listeners, stackDataplane, type TrafficTable } from '../../../core/traffic/table.ts';
import { type DirectProgram, withoutGroups } from './program.ts';

/** After this time the kernel ends the state by itself. `seen` keeps the SYN of a connection of HAProxy for as long. */
export const inheritedSeconds = 10;
/** kube-proxies are shown to serve what was published before after five seconds, and to answer clients a moment later. */
const waitMs = 8_000;

/**
 * Listeners of a host that has served none of them: it has just taken over from another host, or was rebooted. Nodes may have
 * connections of them, which continue if each node gets the packets of its own. So these listeners get all of their nodes at once: the
 * first one alone would get the packets of all connections, and reset those that it does not have. Until then HAProxy serves new
 * connections, and packets of others are dropped, not reset.
 */
export type Inherited = {
  /** These listeners of `direct` have no flow at a stand-in. */
  begin(listeners: Listeners, nowMs: number): void;
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
  const waits = new Map<ListenerKey, { readonly uid: ServiceUid; readonly untilMs: number }>();
  return {
    begin: (listeners, nowMs) => {
      for (const { key, uid } of listeners.values()) waits.set(key, { uid, untilMs: nowMs + waitMs });
    },
    settle: ({ table, groups, mayOpen, nowMs }) => {
      const inherited = new Set<ListenerKey>();
      for (const [key, { uid, untilMs }] of waits) {
        const listener = table.listeners.get(key);
        if (listener?.uid !== uid || listener.dataplane !== 'direct' || untilMs <= nowMs) {
          waits.delete(key);
          continue;
        }
        const { family } = listener.address;
        const awaited = backendOf(table, listener.backend, family).servers.filter(({ node }) => mayOpen(node, family));
        const open = groups.get(key)?.open.length ?? 0;
        if (awaited.length <= open) waits.delete(key);
        else if (listener.protocol === 'TCP' && stackDataplane(listener) !== undefined) inherited.add(key);
      }
      return {
        ...withoutGroups({ groups }, new Set(waits.keys())),
        inherited,
        untilMs: Math.min(Number.POSITIVE_INFINITY, ...Array.from(waits.values(), ({ untilMs }) => untilMs)),
      };
    },
  };
}
