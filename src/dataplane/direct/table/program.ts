import type { Family, Ip } from '../../../core/ip/ip.ts';
import type { IpRange } from '../../../core/ip/range.ts';
import type { BackendId, ListenerKey, NodeName } from '../../../core/model/names.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import type { HostReport } from '../../../core/traffic/report.ts';
import { planSlots } from '../../../core/traffic/slots.ts';
import {
  backendOf,
  emptyTable,
  isNodesBackend,
  type Listener,
  nodesBackend,
  type Server,
  type TrafficNode,
  type TrafficTable,
} from '../../../core/traffic/table.ts';
import { type Ids, makeIds, makeLastingIds } from '../../nftables/ids.ts';
import type { MovedSlot } from './moved-slots.ts';
import { hopKey, type NextHop, planHops } from './hops.ts';
import { slotCount, smallSlotCount } from './rule-parts.ts';
import { nothingShared, type SharedListeners } from '../stand-ins.ts';

/**
 * The slots of all listeners that have the same backend and are open on the same nodes of it. With other slots it is another object.
 * `open`: numbers of these nodes since their last boot, also of those that take no new flows now: the next process resumes with them.
 */
export type SlotGroup = { readonly id: number; readonly marks: readonly number[]; readonly open: readonly number[] };

/** The contents of the table, apart from the syntax of nft. Unchanged parts keep their identity. */
export type DirectProgram = {
  readonly listeners: TrafficTable['listeners'];
  /** The numbers of the listeners. */
  readonly ids: PersistentMap<ListenerKey, number>;
  /** A listener without a group drops its packets, or leaves them to its stand-in. */
  readonly groups: PersistentMap<ListenerKey, SlotGroup>;
  /**
   * The nodes of the listener's backend, of listeners with affinity, and of those of UDP and SCTP with nodes of their own or that
   * leave: a client, or a flow, is not kept at any other. Of TCP a connection is.
   */
  readonly keepers: PersistentMap<ListenerKey, readonly number[]>;
  readonly shared: SharedListeners;
  /** Listeners without a group whose packets are dropped although they have a stand-in (`first-waits.ts`). */
  readonly waiting: ReadonlySet<ListenerKey>;
  /** Listeners that another Service had (`handovers.ts`). */
  readonly handed: ReadonlySet<ListenerKey>;
  /** Listeners without a group that may have connections at nodes which this host does not know (`inherited.ts`). */
  readonly inherited: ReadonlySet<ListenerKey>;
  /** Listeners that leave nodes for their stand-in, and the group that each had (`partings.ts`). */
  readonly parting: ReadonlyMap<ListenerKey, SlotGroup>;
  /** Slots that had another node (`moved-slots.ts`). */
  readonly moved: readonly MovedSlot[];
  /** All of them by number, those of `parting` too. */
  readonly slots: PersistentMap<string, SlotGroup>;
  readonly hops: ReadonlyMap<string, NextHop>;
  readonly nodeMacs: ReadonlySet<string>;
  /** Ranges that do not overlap; packets from there are not sent to nodes. */
  readonly impossible: readonly IpRange[];
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
  readonly impossible: DirectProgram['impossible'];
  /** Whether the node is known to serve the listener, which is published then. Another function if one may be closed that was open. */
  readonly isOpen: (listener: Listener, node: NodeName) => boolean;
  /** Another object if one may be open that was closed. */
  readonly openings: object;
};

/**
 * Pure, except for a cache: what it remembers keeps numbers and saves work. While the nodes and `isOpen` are the same, only the
 * listeners that changed, those of backends that changed, and after openings those that are closed for a node are planned again.
 */
export function makeDirectPlanner(): (input: ProgramInput) => DirectProgram {
  const listenerIds = makeLastingIds();
  const nodeIds = makeLastingIds();
  const bootIds = makeLastingIds();
  const groupIds = makeIds();
  /** Nodes that were lost, and are not known to serve a listener again: after a reboot their kube-proxy may not have synced. */
  const lost = new Set<string>();
  const groupsByName = new Map<string, KnownGroup>();
  const groupOf = new Map<ListenerKey, KnownGroup>();
  const listenersOf = new Map<BackendId, Set<ListenerKey>>();
  const marksOf = new WeakMap<readonly Server[], readonly number[]>();
  let last: Planned = {
    table: emptyTable,
    isOpen: () => false,
    openings: {},
    takers: '',
    ids: PersistentMap.empty(),
    groups: PersistentMap.empty(),
    keepers: PersistentMap.empty(),
    slots: PersistentMap.empty(),
  };

  /** The numbers of former Services are released, and `listenersOf` follows. */
  const followListeners = (listeners: TrafficTable['listeners'], changed: readonly ListenerKey[]): void => {
    for (const key of changed) {
      const [old, now] = [last.table.listeners.get(key), listeners.get(key)];
      if (old !== undefined && old.uid !== now?.uid) listenerIds.release(nameOf(old));
      const former = old && listenersOf.get(old.backend);
      former?.delete(key);
      if (old !== undefined && former?.size === 0) listenersOf.delete(old.backend);
      if (now === undefined) continue;
      const mine = listenersOf.get(now.backend) ?? new Set();
      listenersOf.set(now.backend, mine.add(key));
    }
  };

  /** Those that are closed for a node, and published: the gate opens no others. */
  const closedListeners = (): readonly ListenerKey[] =>
    [...groupsByName.values()].flatMap(({ mayOpen, listeners }) => (mayOpen ? [...listeners] : []));

  /** The listeners to plan: all, if a node takes flows now or no longer does, or no longer serves some. */
  const dueListeners = (
    { table, isOpen, openings }: ProgramInput,
    changed: readonly ListenerKey[],
    takers: string,
  ): Iterable<ListenerKey> => {
    const backends = PersistentMap.changedKeys(last.table.backends, table.backends);
    const isSame =
      last.isOpen === isOpen &&
      last.takers === takers &&
      last.table.nodes === table.nodes &&
      !backends.some(isNodesBackend);
    if (!isSame) return new Set([...changed, ...table.listeners.keys()]);
    const ofBackends = backends.flatMap((backend) => [...(listenersOf.get(backend) ?? [])]);
    return new Set([...changed, ...ofBackends, ...(last.openings === openings ? [] : closedListeners())]);
  };

  return (input) => {
    const { table, isOpen, openings } = input;
    const changed = PersistentMap.changedKeys(last.table.listeners, table.listeners);
    followListeners(table.listeners, changed);
    const { hops, takers } = planHops(input, nodeIds, lost);
    const planned = new Set<KnownGroup>();
    const serversOf = ({ backend, address }: Listener): readonly Server[] =>
      backendOf(table, backend, address.family).servers;
    const keepersOf = (listener: Listener): readonly number[] => {
      const servers = serversOf(listener);
      const marks = marksOf.get(servers) ?? servers.map(({ node }) => nodeIds.of(node));
      marksOf.set(servers, marks);
      return marks;
    };
    /** The group of a listener. Its slots are planned once. */
    const groupFor = (listener: Listener): KnownGroup => {
      const { family } = listener.address;
      const servers = serversOf(listener);
      const closed = servers.filter(({ node }) => !isOpen(listener, node)).map(({ node }) => node);
      const { backend, isPublished } = listener;
      const name = [backend, isPublished ? '+' : '-', ...closed].join(' ');
      const found = groupsByName.get(name) ?? newGroup(name, isPublished && closed.length > 0);
      groupsByName.set(name, found);
      if (planned.has(found)) return found;
      planned.add(found);
      const open = servers.filter(({ node }) => !closed.includes(node));
      const members = open.filter(({ node, isDraining }) => !isDraining && takers.has(hopKey(node, family)));
      const boots = open.map(({ node }) => bootName({ name: node, bootId: table.nodes.get(node)?.bootId }));
      const content = `${members.map(({ node, weight }) => `${node} ${weight}`).join()};${boots.join()}`;
      if (found.content === content) return found;
      const slots = listener.backend === nodesBackend(family) ? slotCount : slotCountFor(members.length);
      found.content = content;
      found.group = {
        id: groupIds.of(name),
        marks: planMarks(nodeIds, members, slots),
        open: boots.map((boot) => bootIds.of(boot)),
      };
      return found;
    };

    const left = new Set<KnownGroup>();
    const ids: [ListenerKey, number | undefined][] = [];
    const groups: [ListenerKey, SlotGroup | undefined][] = [];
    const keepers: [ListenerKey, readonly number[] | undefined][] = [];
    const takersText = [...takers].join();
    for (const key of dueListeners(input, changed, takersText)) {
      const listener = table.listeners.get(key);
      const before = groupOf.get(key);
      // A listener of another dataplane leaves, and has no group.
      const now = listener?.dataplane === 'direct' ? groupFor(listener) : undefined;
      if (before !== now) {
        before?.listeners.delete(key);
        now?.listeners.add(key);
        if (before !== undefined) left.add(before);
        if (now === undefined) groupOf.delete(key);
        else groupOf.set(key, now);
      }
      ids.push([key, listener && listenerIds.of(nameOf(listener))]);
      groups.push([key, now !== undefined && now.group.marks.length > 0 ? now.group : undefined]);
      keepers.push([key, listener && mayMoveClients(listener) ? keepersOf(listener) : undefined]);
    }
    const slots = new Map(Array.from(planned, ({ group }) => [groupKey(group), group] as const));
    const unused = [...left].filter(({ listeners }) => listeners.size === 0);
    for (const { name } of unused) {
      groupsByName.delete(name);
      groupIds.release(name);
    }
    last = {
      table,
      isOpen,
      openings,
      takers: takersText,
      ids: last.ids.with(ids),
      groups: last.groups.with(groups),
      keepers: last.keepers.with(keepers),
      slots: last.slots.with([...unused.map(({ group }) => [groupKey(group), undefined] as const), ...slots]),
    };
    return {
      listeners: table.listeners,
      ids: last.ids,
      groups: last.groups,
      keepers: last.keepers,
      shared: nothingShared,
      waiting: new Set(),
      handed: new Set(),
      inherited: new Set(),
      parting: new Map(),
      moved: [],
      slots: last.slots,
      hops,
      nodeMacs: input.nodeMacs,
      impossible: input.impossible,
    };
  };
}

/** Without the groups of these listeners: no node gets new flows of them. */
export function withoutGroups<P extends Pick<DirectProgram, 'groups'>>(program: P, of: ReadonlySet<ListenerKey>): P {
  const keys = [...of].filter((key) => program.groups.has(key));
  return keys.length === 0 ? program : { ...program, groups: program.groups.with(keys.map((key) => [key, undefined])) };
}

/** Of a group in `slots`. */
export function groupKey({ id }: Pick<SlotGroup, 'id'>): string {
  return String(id);
}

/** What the number of a listener is for: the next Service on the address has another one. */
export function nameOf({ key, uid }: Pick<Listener, 'key' | 'uid'>): string {
  return `${key} ${uid}`;
}

/** What a proof is about: a node since its last boot. */
export function bootName({ name, bootId = '' }: Pick<TrafficNode, 'name' | 'bootId'>): string {
  return `${name} ${bootId}`;
}

/**
 * Whether a client, or a flow, leaves a node that has no endpoint of the Service any more. One that leaves for another dataplane may
 * have had affinity.
 */
function mayMoveClients({ isAffine, protocol, dataplane, backend, address }: Listener): boolean {
  return isAffine || (protocol !== 'TCP' && (dataplane !== 'direct' || backend !== nodesBackend(address.family)));
}

/** What a plan depends on, and its parts that change with listeners. */
type Planned = Pick<ProgramInput, 'table' | 'isOpen' | 'openings'> &
  Pick<DirectProgram, 'ids' | 'groups' | 'keepers' | 'slots'> & { readonly takers: string };

type KnownGroup = {
  readonly name: string;
  /** More nodes of the backend may serve its listeners soon. */
  readonly mayOpen: boolean;
  readonly listeners: Set<ListenerKey>;
  /** The servers that take new flows, with their weights. */
  content: string | undefined;
  group: SlotGroup;
};

function newGroup(name: string, mayOpen: boolean): KnownGroup {
  return { name, mayOpen, listeners: new Set(), content: undefined, group: { id: 0, marks: [], open: [] } };
}

/** Of a backend that only one Service has. With more servers some would have no slot of a small group. */
function slotCountFor(servers: number): number {
  return servers > 8 ? slotCount : smallSlotCount;
}

function planMarks(nodeIds: Ids, servers: readonly Server[], slotsOfGroup: number): SlotGroup['marks'] {
  const slots = planSlots(
    servers.map(({ node, weight }) => ({ name: node, weight })),
    slotsOfGroup,
  );
  return slots.map((name) => nodeIds.of(name as NodeName));
}
