import type { AddressRecord } from '../core/addresses/assignment.ts';
import { eligibilityOf, type Eligibility } from '../core/addresses/eligibility.ts';
import { type AddressPlan, makeAddressPlanner } from '../core/addresses/plan.ts';
import { type IpRange, mergeRanges, rangeContains, rangeOf, subtractRanges } from '../core/ip/range.ts';
import type { HostFacts } from '../core/model/host.ts';
import type { ListenerKey, NodeName, ServiceKey, ServiceUid } from '../core/model/names.ts';
import type { Node } from '../core/model/node.ts';
import type { Service } from '../core/model/service.ts';
import type { Site } from '../core/model/site.ts';
import { isSameMap, PersistentMap } from '../core/persistent-map.ts';
import { makeTrafficPlanner } from '../core/traffic/plan.ts';
import { emptyTable, type TrafficTable } from '../core/traffic/table.ts';

/** Everything that a plan depends on, at one moment. Immutable. */
export type Snapshot = {
  readonly site: Site;
  readonly services: PersistentMap<ServiceKey, Service>;
  readonly nodes: PersistentMap<NodeName, Node>;
  readonly drained: ReadonlySet<NodeName>;
  readonly records: PersistentMap<ServiceUid, AddressRecord>;
  readonly host: HostFacts;
  /** What the host may have in force. */
  readonly mayHold: TrafficTable;
};

export type Plan = AddressPlan & {
  /** The Services that it was made for. */
  readonly services: Snapshot['services'];
  readonly eligibility: PersistentMap<ServiceKey, Eligibility>;
  readonly table: TrafficTable;
  /** Addresses of the ranges that are nodes' own: left out of the pool. */
  readonly nodeAddresses: ReadonlyMap<string, NodeName>;
  /** Listeners that may be in force and whose Service is no longer ours: nobody else could have them in this plan. */
  readonly lingering: ReadonlyMap<ListenerKey, ServiceKey>;
};

/** Snapshot → who gets which address, and the table of the host. */
export type Planner = (snapshot: Snapshot) => Plan;

/** The Services by whose they are. */
type Sorted = Pick<Snapshot, 'services' | 'records'> & {
  readonly eligibility: Plan['eligibility'];
  readonly ours: PersistentMap<ServiceKey, Service>;
  readonly leaving: PersistentMap<ServiceKey, Service>;
};

const nobody: Sorted = {
  services: PersistentMap.empty(),
  records: PersistentMap.empty(),
  eligibility: PersistentMap.empty(),
  ours: PersistentMap.empty(),
  leaving: PersistentMap.empty(),
};

/**
 * As good as pure: what a planner remembers of its last plan saves work and never changes the answer. Parts that did
 * not change keep their identity from plan to plan. `site` must be the same object in every snapshot.
 */
export function makePlanner(): Planner {
  const planAddresses = makeAddressPlanner();
  const planTraffic = makeTrafficPlanner();
  const poolOf = makePoolOf();
  let last = { sorted: nobody, table: emptyTable };

  return ({ site, services, nodes, drained, records, host, mayHold }) => {
    const sorted = sort(last.sorted, services, records, site);
    const { ours, leaving, eligibility } = sorted;
    const { nodeAddresses, pool } = poolOf(site.ranges, nodes);
    const lingering = new Map<ListenerKey, ServiceKey>();
    // A row that the host may hold and that was in the last table too is of a Service that was ours then.
    for (const key of new Set([
      ...PersistentMap.changedKeys(last.table.byService, mayHold.byService),
      ...PersistentMap.changedKeys(last.sorted.ours, ours),
    ]))
      if (!ours.has(key)) for (const row of mayHold.byService.get(key) ?? []) lingering.set(row.key, key);
    const addresses = planAddresses({ services: ours, records, site, host, nodeAddresses, pool, lingering });
    const table = planTraffic({ services: ours, assignments: addresses.assignments, nodes, drained });
    last = { sorted, table };
    // One that leaves is remembered until it is let go.
    const kept = [...leaving.values()].map(({ uid }) => [uid, records.get(uid)] as const);
    return {
      ...addresses,
      services,
      records: addresses.records.with(kept),
      eligibility,
      table,
      nodeAddresses,
      lingering,
    };
  };
}

function sort(before: Sorted, services: Snapshot['services'], records: Snapshot['records'], site: Site): Sorted {
  const changed = new Set(PersistentMap.changedKeys(before.services, services));
  for (const uid of PersistentMap.changedKeys(before.records, records)) {
    const record = records.get(uid) ?? before.records.get(uid);
    if (record !== undefined) changed.add(record.service);
  }
  const answers = Array.from(changed, (key) => {
    const service = services.get(key);
    return { key, service, answer: service && eligibilityOf(service, site, records.has(service.uid)) };
  });
  const only = (wanted: Eligibility): [ServiceKey, Service | undefined][] =>
    answers.map(({ key, service, answer }) => [key, answer === wanted ? service : undefined]);
  return {
    services,
    records,
    eligibility: before.eligibility.with(answers.map(({ key, answer }) => [key, answer])),
    ours: before.ours.with(only('ours')),
    leaving: before.leaving.with(only('leaving')),
  };
}

type Pool = { readonly nodeAddresses: ReadonlyMap<string, NodeName>; readonly pool: readonly IpRange[] };

/** The ranges without the nodes' own addresses; the same object while that is the same. */
function makePoolOf(): (ranges: readonly IpRange[], nodes: Snapshot['nodes']) => Pool {
  let last: { readonly ranges: readonly IpRange[]; readonly nodes: Snapshot['nodes']; readonly pool: Pool } | undefined;
  return (ranges, nodes) => {
    if (last?.ranges === ranges && last.nodes === nodes) return last.pool;
    const taken = [...nodes.values()].flatMap((node) =>
      node.allAddresses
        .filter((ip) => ranges.some((range) => rangeContains(range, ip)))
        .map((ip) => [ip, node.name] as const),
    );
    const nodeAddresses = new Map(taken.map(([ip, name]) => [ip.text, name]));
    const isSame = last !== undefined && last.ranges === ranges && isSameMap(last.pool.nodeAddresses, nodeAddresses);
    const free = (): readonly IpRange[] =>
      subtractRanges(
        mergeRanges(ranges),
        taken.map(([ip]) => rangeOf(ip)),
      );
    const pool = last !== undefined && isSame ? last.pool : { nodeAddresses, pool: free() };
    last = { ranges, nodes, pool };
    return pool;
  };
}
