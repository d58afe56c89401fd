import type { Family, Ip } from '../../core/ip/ip.ts';
import type { BackendId, ListenerKey, NodeName } from '../../core/model/names.ts';
import type { HostReport } from '../../core/traffic/report.ts';
import { planSlots } from '../../core/traffic/slots.ts';
import {
  addressOfNode,
  backendOf,
  type Server,
  type TrafficNode,
  type TrafficTable,
} from '../../core/traffic/table.ts';
import { makeIds, makeLastingIds } from '../direct/ids.ts';
import type { Guard } from './forwarding.ts';
import { makeUses } from './uses.ts';
import { natSlotCount } from './ruleset.ts';

/** Nodes that take flows, for all backends that have the same ones: the address of the node of each slot. */
export type NatGroup = { readonly id: number; readonly family: Family; readonly slots: readonly Ip[] };

/** A node that keeps the clients which it has: its number for one holder of a listener. */
export type Keeper = { readonly address: Ip; readonly number: number };

/** The contents of the table, apart from the syntax of nft. Unchanged parts keep their identity. */
export type NatProgram = {
  readonly listeners: TrafficTable['listeners'];
  /** The number of a backend, the same as long as this process runs. */
  readonly numberOf: (backend: BackendId) => number;
  /** A backend without a group refuses its flows. */
  readonly groups: ReadonlyMap<BackendId, NatGroup>;
  /** Of each listener with affinity. */
  readonly keepers: ReadonlyMap<ListenerKey, readonly Keeper[]>;
  /** The host's own addresses. */
  readonly own: ReadonlyMap<string, Ip>;
  /** Where only flows of furiwake are forwarded. */
  readonly guard: Guard;
};

/** Where flows may be: those that are elsewhere are ended. */
export type FlowPlaces = {
  /** Addresses of the nodes of each backend, also of those that get no new flows. */
  readonly members: ReadonlyMap<BackendId, readonly Ip[]>;
  /** Addresses of nodes that have been silent for so long that their flows are ended. */
  readonly lost: readonly Ip[];
};

export type NatInput = {
  readonly table: TrafficTable;
  readonly verdicts: HostReport['health'];
  /** The node has been silent for so long that it loses its flows. */
  readonly isLost: (node: NodeName, family: Family) => boolean;
};

export type NatPlan = Pick<NatProgram, 'groups' | 'keepers'> & { readonly places: FlowPlaces };

/** Pure, except for a cache: what it remembers keeps numbers and saves work. */
export function makeNatPlanner(): (input: NatInput) => NatPlan {
  const ids = makeIds();
  let known = new Map<string, NatGroup>();
  let plan: NatPlan = { groups: new Map(), keepers: new Map(), places: { members: new Map(), lost: [] } };
  const keepersOf = makeKeepers();
  const usesOf = makeUses();

  return ({ table, verdicts, isLost }) => {
    const nodes = [...table.nodes.values()];
    const isUp = ({ name }: TrafficNode, family: Family): boolean => (verdicts.get(name)?.[family] ?? 'up') === 'up';
    /** If no node is up, the checks are more likely wrong than all nodes: none is given up. */
    const hasUp = (family: Family): boolean => nodes.some((node) => node.state === 'active' && isUp(node, family));
    const someUp = { 4: hasUp(4), 6: hasUp(6) };
    const groups = new Map<BackendId, NatGroup>();
    const members = new Map<BackendId, readonly Ip[]>();
    const lost = new Map<string, Ip>();
    const servers = new Map<BackendId, BackendServers>();
    const used = new Map<string, NatGroup>();
    const uses = usesOf(table.listeners);
    for (const [backend, family] of uses.backends) {
      const addressed = backendOf(table, backend, family).servers.flatMap((server): readonly Taker[] => {
        const node = table.nodes.get(server.node);
        const address = node && addressOfNode(node, family);
        return node === undefined || address === undefined ? [] : [{ node, address, server }];
      });
      const gone = addressed.filter(({ node }) => someUp[family] && isLost(node.name, family));
      for (const { address } of gone) lost.set(address.text, address);
      const kept = addressed.filter(({ address }) => !lost.has(address.text));
      members.set(
        backend,
        kept.map(({ address }) => address),
      );
      const takers = kept.filter(
        ({ node, server }) => !server.isDraining && node.state === 'active' && (isUp(node, family) || !someUp[family]),
      );
      servers.set(backend, {
        all: addressed,
        keeping: kept.filter(({ node }) => isUp(node, family) || !someUp[family]),
      });
      if (takers.length === 0) continue;
      const content = takers
        .map(({ node, address, server }) => `${node.name} ${address.text} ${server.weight}`)
        .toSorted()
        .join(' ');
      const group = used.get(content) ?? known.get(content) ?? makeGroup(ids.of(content), family, takers);
      used.set(content, group);
      groups.set(backend, group);
    }
    for (const content of known.keys()) if (!used.has(content)) ids.release(content);
    known = used;
    const keepers = keepersOf(table.listeners, uses.affine, servers);
    plan = {
      keepers: isSameMap(plan.keepers, keepers) ? plan.keepers : keepers,
      groups: isSameMap(plan.groups, groups) ? plan.groups : groups,
      places:
        textOf(plan.places) === textOf({ members, lost: [...lost.values()] })
          ? plan.places
          : { members, lost: [...lost.values()] },
    };
    return plan;
  };
}

/** Those of a backend, and those that keep the clients that they have. */
type BackendServers = { readonly all: readonly Taker[]; readonly keeping: readonly Taker[] };

/** A node keeps its number as long as the listener belongs to the Service. */
function makeKeepers(): (
  listeners: TrafficTable['listeners'],
  affine: ReadonlySet<ListenerKey>,
  servers: ReadonlyMap<BackendId, BackendServers>,
) => NatProgram['keepers'] {
  const ids = makeLastingIds();
  let before: ReadonlyMap<ListenerKey, readonly Keeper[]> = new Map();
  let named: ReadonlySet<string> = new Set();
  return (listeners, affine, servers) => {
    const now = new Map<ListenerKey, readonly Keeper[]>();
    const names = new Set<string>();
    for (const key of affine) {
      const listener = listeners.get(key);
      if (listener === undefined) continue;
      const { uid, backend } = listener;
      const nameOf = ({ node, address }: Taker): string => `${key} ${uid} ${node.name} ${address.text}`;
      const { all = [], keeping = [] } = servers.get(backend) ?? {};
      for (const server of all) names.add(nameOf(server));
      const keepers = keeping.map((server) => ({ address: server.address, number: ids.of(nameOf(server)) }));
      const old = before.get(key);
      const isSame =
        old?.length === keepers.length &&
        keepers.every(
          ({ address, number }, index) => old[index]?.number === number && old[index].address.text === address.text,
        );
      now.set(key, isSame && old !== undefined ? old : keepers);
    }
    for (const name of named) if (!names.has(name)) ids.release(name);
    named = names;
    before = now;
    return now;
  };
}

type Taker = { readonly node: TrafficNode; readonly address: Ip; readonly server: Server };

function makeGroup(id: number, family: Family, takers: readonly Taker[]): NatGroup {
  const addresses = new Map<string, Ip>(takers.map(({ node, address }) => [node.name, address]));
  const slots = planSlots(
    takers.map(({ node, server }) => ({ name: node.name, weight: server.weight })),
    natSlotCount,
  );
  return { id, family, slots: slots.flatMap((name) => addresses.get(name) ?? []) };
}

function isSameMap<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}

function textOf({ members, lost }: FlowPlaces): string {
  return JSON.stringify([[...members].map(([backend, ips]) => [backend, ...texts(ips)]), texts(lost)]);
}

function texts(ips: readonly Ip[]): readonly string[] {
  return ips.map(({ text }) => text);
}
