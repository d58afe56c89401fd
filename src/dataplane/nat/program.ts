import type { Family, Ip } from '../../core/ip/ip.ts';
import type { BackendId, ListenerKey, NodeName } from '../../core/model/names.ts';
import type { HostReport } from '../../core/traffic/report.ts';
import { isSameMap, PersistentMap } from '../../core/persistent-map.ts';
import { nodeUse } from '../../core/traffic/node-use.ts';
import { planSlots } from '../../core/traffic/slots.ts';
import {
  addressOfNode,
  backendOf,
  type Server,
  type TrafficNode,
  type TrafficTable,
} from '../../core/traffic/table.ts';
import { makeIds } from '../nftables/ids.ts';
import type { Guard } from './forwarding.ts';
import { type HostedMembers, type HostedPods, makeHosted } from './hosted.ts';
import { type Keepers, makeKeepers, type Members } from './keepers.ts';
import { makeUses } from './uses.ts';
import { natSlotCount } from './choice-chains.ts';

/** Nodes that take flows, for all backends that have the same ones: the address of the node of each slot. */
export type NatGroup = { readonly id: number; readonly family: Family; readonly slots: readonly Ip[] };

/** The contents of the table, apart from the syntax of nft. Unchanged parts keep their identity. */
export type NatProgram = {
  readonly listeners: TrafficTable['listeners'];
  /** Those of them that get no new flows, because another dataplane has them now. */
  readonly former: ReadonlySet<ListenerKey>;
  /** The listeners for which their Service has no endpoint: new flows are refused here, because nodes refuse only some per second. */
  readonly serverless: ReadonlySet<ListenerKey>;
  /** The number of a backend, the same as long as this process runs. */
  readonly numberOf: (backend: BackendId) => number;
  /** A backend without a group refuses its flows. */
  readonly groups: ReadonlyMap<BackendId, NatGroup>;
  /** Of each listener with affinity. */
  readonly keepers: Keepers;
  /** Of each listener that only the host itself uses. */
  readonly hosted: HostedPods;
  /** Whether the table has the rules for those. */
  readonly hasHosted: boolean;
  /** The host's own addresses. */
  readonly own: ReadonlyMap<string, Ip>;
  /** Where only flows of furiwake are forwarded. */
  readonly guard: Guard;
};

/** Where flows may be: those that are elsewhere are ended. */
export type FlowPlaces = {
  /** Addresses of the nodes of each backend, also of those that get no new flows. */
  readonly members: ReadonlyMap<BackendId, readonly Ip[]>;
  /** Those of the Pods for the host itself. */
  readonly hosted: HostedMembers;
  /** Addresses of nodes that have been silent for so long that their flows are ended. */
  readonly lost: readonly Ip[];
};

export type NatInput = {
  readonly table: TrafficTable;
  readonly verdicts: HostReport['health'];
  /** The node has been silent for so long that it loses its flows. */
  readonly isLost: (node: NodeName, family: Family) => boolean;
};

export type NatPlan = Pick<NatProgram, 'groups' | 'keepers' | 'hosted'> & { readonly places: FlowPlaces };

const noPlaces: FlowPlaces = { members: new Map(), hosted: PersistentMap.empty(), lost: [] };

/** Pure, except for a cache: what it remembers keeps numbers and saves work. */
export function makeNatPlanner(): (input: NatInput) => NatPlan {
  const ids = makeIds();
  let known = new Map<string, NatGroup>();
  let plan: NatPlan = {
    groups: new Map(),
    keepers: PersistentMap.empty(),
    hosted: PersistentMap.empty(),
    places: noPlaces,
  };
  const keepersOf = makeKeepers();
  const hostedOf = makeHosted();
  const usesOf = makeUses();

  return ({ table, verdicts, isLost }) => {
    const { hasUp, keeps, takes } = nodeUse(table.nodes.values(), verdicts);
    const groups = new Map<BackendId, NatGroup>();
    const members = new Map<BackendId, readonly Ip[]>();
    const lost = new Map<string, Ip>();
    const servers = new Map<BackendId, Members>();
    const used = new Map<string, NatGroup>();
    const uses = usesOf(table.listeners);
    for (const [backend, family] of uses.backends) {
      const addressed = backendOf(table, backend, family).servers.flatMap((server): readonly Taker[] => {
        const node = table.nodes.get(server.node);
        const address = node && addressOfNode(node, family);
        return node === undefined || address === undefined ? [] : [{ node, address, server }];
      });
      const gone = addressed.filter(({ node }) => hasUp[family] && isLost(node.name, family));
      for (const { address } of gone) lost.set(address.text, address);
      const kept = addressed.filter(({ address }) => !lost.has(address.text));
      members.set(
        backend,
        kept.map(({ address }) => address),
      );
      const usable = kept.filter(
        ({ node, server }) => !server.isDraining && node.state === 'active' && keeps(node.name, family),
      );
      const checked = usable.filter(({ node }) => takes(node, family));
      const takers = checked.length > 0 ? checked : usable; // a try is better than a refusal
      const addressOf = ({ address }: Taker): Ip => address;
      servers.set(backend, {
        all: addressed.map(addressOf),
        keeping: kept.filter(({ node }) => keeps(node.name, family)).map(addressOf),
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
    const hosted = hostedOf({ table, verdicts, keeps, loses: (node, family) => hasUp[family] && isLost(node, family) });
    for (const content of known.keys()) if (!used.has(content)) ids.release(content);
    known = used;
    plan = {
      keepers: keepersOf(table.listeners, uses.affine, servers),
      hosted: hosted.pods,
      groups: isSameMap(plan.groups, groups) ? plan.groups : groups,
      places: samePlaces(plan.places, { members, hosted: hosted.members, lost: [...lost.values()] }),
    };
    return plan;
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

function samePlaces(before: FlowPlaces, now: FlowPlaces): FlowPlaces {
  return before.hosted === now.hosted && textOf(before) === textOf(now) ? before : now;
}

function textOf({ members, lost }: FlowPlaces): string {
  return JSON.stringify([[...members].map(([backend, ips]) => [backend, ...texts(ips)]), texts(lost)]);
}

function texts(ips: readonly Ip[]): readonly string[] {
  return ips.map(({ text }) => text);
}
