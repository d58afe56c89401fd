import type { Family, Ip } from '../../core/ip/ip.ts';
import type { ListenerKey, NodeName } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { HostReport } from '../../core/traffic/report.ts';
import { planSlots } from '../../core/traffic/slots.ts';
import {
  addressOfNode,
  backendOf,
  emptyTable,
  type Listener,
  nodesBackend,
  type Server,
  type TrafficTable,
} from '../../core/traffic/table.ts';
import { type Ids, makeIds, makeLastingIds } from './ids.ts';
import { slotCount, smallSlotCount } from './family-chains.ts';
import { nothingShared, type SharedListeners } from './stand-ins.ts';

/** A node as a next hop. Registers are 32 bits wide: `mark` stands for the node. */
export type NextHop = { readonly mark: number; readonly address: Ip; readonly link: string };

/** The slots of all listeners that have the same backend and are open on the same nodes of it. With other slots it is another object. */
export type SlotGroup = { readonly id: number; readonly marks: readonly number[] };

/** The contents of the table, apart from the syntax of nft. Unchanged parts keep their identity. */
export type DirectProgram = {
  readonly listeners: TrafficTable['listeners'];
  /** The numbers of the listeners. */
  readonly ids: ReadonlyMap<ListenerKey, number>;
  /** A listener without a group drops its packets, or leaves them to its stand-in. */
  readonly groups: ReadonlyMap<ListenerKey, SlotGroup>;
  /**
   * The nodes of the listener's backend, of listeners with affinity, and of those of UDP and SCTP with nodes of their own or that
   * leave: a client, or a flow, is not kept at any other. Of TCP a connection is.
   */
  readonly keepers: ReadonlyMap<ListenerKey, readonly number[]>;
  readonly shared: SharedListeners;
  /** Listeners without a group whose packets are dropped although they have a stand-in (`first-waits.ts`). */
  readonly waiting: ReadonlySet<ListenerKey>;
  /** All of them, once. */
  readonly slots: ReadonlySet<SlotGroup>;
  readonly hops: ReadonlyMap<string, NextHop>;
  readonly nodeMacs: ReadonlySet<string>;
};

export type ProgramInput = {
  readonly table: TrafficTable;
  readonly verdicts: HostReport['health'];
  /** The interface on whose link the node is; `undefined`: behind a router. */
  readonly linkOf: (address: Ip) => string | undefined;
  /** An address of this host itself: it cannot be its own next hop. */
  readonly isOwn: (address: Ip) => boolean;
  /** The node has been silent for so long that its flows are sent to other nodes. */
  readonly isLost: (node: NodeName, family: Family) => boolean;
  readonly nodeMacs: ReadonlySet<string>;
  /** Whether the node is known to serve the listener. */
  readonly isOpen: (listener: Listener, node: NodeName) => boolean;
};

/** Pure, except for a cache: what it remembers keeps numbers and saves work. */
export function makeDirectPlanner(): (input: ProgramInput) => DirectProgram {
  const listenerIds = makeLastingIds();
  const nodeIds = makeLastingIds();
  const groupIds = makeIds();
  /** Nodes that were lost, and are not known to serve a listener again: after a reboot their kube-proxy may not have synced. */
  const lost = new Set<string>();
  let known = new Map<string, KnownGroup>();
  const marksOf = new WeakMap<readonly Server[], readonly number[]>();
  let listeners: TrafficTable['listeners'] = emptyTable.listeners;

  return ({ table, verdicts, linkOf, isOwn, isLost, nodeMacs, isOpen }) => {
    for (const key of PersistentMap.changedKeys(listeners, table.listeners)) {
      const [old, now] = [listeners.get(key), table.listeners.get(key)];
      if (old !== undefined && old.service !== now?.service) listenerIds.release(nameOf(old));
    }
    ({ listeners } = table);
    const nodes = [...table.nodes.values()];
    const isUp = (node: NodeName, family: Family): boolean => (verdicts.get(node)?.[family] ?? 'up') === 'up';
    /** If no node is up, the checks are more likely wrong than all nodes: none is given up. */
    const hasUp = {
      4: nodes.some(({ name, state }) => state === 'active' && isUp(name, 4)),
      6: nodes.some(({ name, state }) => state === 'active' && isUp(name, 6)),
    };
    const openFamilies = new Set<string>();
    for (const listener of table.listeners.values())
      for (const { name } of nodes) {
        const key = hopKey(name, listener.address.family);
        if (!openFamilies.has(key) && isOpen(listener, name)) openFamilies.add(key);
      }
    const hops = new Map<string, NextHop>();
    for (const node of nodes)
      for (const family of [4, 6] as const) {
        const address = addressOfNode(node, family);
        const link = address && linkOf(address);
        if (address === undefined || link === undefined || isOwn(address)) continue;
        const key = hopKey(node.name, family);
        if (hasUp[family] && isLost(node.name, family)) lost.add(key);
        else if (openFamilies.has(key) || !hasUp[family]) lost.delete(key);
        if (!lost.has(key)) hops.set(key, { mark: nodeIds.of(node.name), address, link });
      }
    const takesFlows = (node: NodeName, family: Family): boolean =>
      table.nodes.get(node)?.state === 'active' &&
      hops.has(hopKey(node, family)) &&
      (isUp(node, family) || !hasUp[family]);

    const ids = new Map<ListenerKey, number>();
    const used = new Map<string, KnownGroup>();
    const groups = new Map<ListenerKey, SlotGroup>();
    const keepers = new Map<ListenerKey, readonly number[]>();
    for (const [key, listener] of table.listeners) {
      ids.set(key, listenerIds.of(nameOf(listener)));
      const { family } = listener.address;
      const { servers } = backendOf(table, listener.backend, family);
      if (mayMoveClients(listener)) {
        const marks = marksOf.get(servers) ?? servers.map(({ node }) => nodeIds.of(node));
        marksOf.set(servers, marks);
        keepers.set(key, marks);
      }
      if (listener.dataplane !== 'direct') continue; // it leaves
      const closed = servers.filter(({ node }) => !isOpen(listener, node)).map(({ node }) => node);
      const name = [listener.backend, ...closed].join(' ');
      let found = used.get(name);
      if (found === undefined) {
        const members = servers.filter(
          ({ node, isDraining }) => !isDraining && takesFlows(node, family) && !closed.includes(node),
        );
        const content = members.map(({ node, weight }) => `${node} ${weight}`).join();
        const before = known.get(name);
        const slots = listener.backend === nodesBackend(family) ? slotCount : slotCountFor(members.length);
        found =
          before?.content === content
            ? before
            : { content, group: makeGroup(groupIds.of(name), nodeIds, members, slots) };
        used.set(name, found);
      }
      if (found.group.marks.length > 0) groups.set(key, found.group);
    }
    for (const name of known.keys()) if (!used.has(name)) groupIds.release(name);
    known = used;
    return {
      listeners: table.listeners,
      ids,
      groups,
      keepers,
      shared: nothingShared,
      waiting: new Set(),
      slots: new Set(Array.from(used.values(), ({ group }) => group)),
      hops,
      nodeMacs,
    };
  };
}

/** What the number of a listener is for: the next Service on the address has another one. */
export function nameOf({ key, service }: Pick<Listener, 'key' | 'service'>): string {
  return `${key} ${service}`;
}

/**
 * Whether a client, or a flow, leaves a node that has no endpoint of the Service any more. One that leaves for another dataplane may
 * have had affinity.
 */
function mayMoveClients({ isAffine, protocol, dataplane, backend, address }: Listener): boolean {
  return isAffine || (protocol !== 'TCP' && (dataplane !== 'direct' || backend !== nodesBackend(address.family)));
}

type KnownGroup = {
  /** The servers that take new flows, with their weights. */
  readonly content: string;
  readonly group: SlotGroup;
};

/** Of a backend that only one Service has. With more servers some would have no slot of a small group. */
function slotCountFor(servers: number): number {
  return servers > 8 ? slotCount : smallSlotCount;
}

function makeGroup(id: number, nodeIds: Ids, servers: readonly Server[], slotsOfGroup: number): SlotGroup {
  const slots = planSlots(
    servers.map(({ node, weight }) => ({ name: node, weight })),
    slotsOfGroup,
  );
  return { id, marks: slots.map((name) => nodeIds.of(name as NodeName)) };
}

/** A node in one family, as {@link DirectProgram.hops} names it. */
export function hopKey(node: NodeName, family: Family): string {
  return `${node} ${family}`;
}
