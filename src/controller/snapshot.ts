import { eligibilityOf, type Eligibility } from '../core/addresses/eligibility.ts';
import type { AddressPlan, AddressRecord } from '../core/addresses/plan.ts';
import { planAddresses } from '../core/addresses/plan.ts';
import { type IpRange, mergeRanges, rangeContains, rangeOf, subtractRanges } from '../core/ip/range.ts';
import { ownFinalizer } from '../core/model/contract.ts';
import type { HostFacts } from '../core/model/host.ts';
import type { ListenerKey, NodeName, ServiceKey, ServiceUid } from '../core/model/names.ts';
import type { Node } from '../core/model/node.ts';
import type { Service } from '../core/model/service.ts';
import type { Site } from '../core/model/site.ts';
import { planTraffic } from '../core/traffic/plan.ts';
import type { TrafficTable } from '../core/traffic/table.ts';

/** Everything that a plan depends on, at one moment. Immutable. */
export type Snapshot = {
  readonly site: Site;
  readonly services: ReadonlyMap<string, Service>;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly drained: ReadonlySet<NodeName>;
  readonly records: ReadonlyMap<ServiceUid, AddressRecord>;
  readonly host: HostFacts;
  /** What the host has in force. */
  readonly inForce: TrafficTable;
};

export type Plan = AddressPlan & {
  readonly eligibility: ReadonlyMap<ServiceKey, Eligibility>;
  readonly table: TrafficTable;
  /** Addresses of the ranges that are nodes' own: left out of the pool. */
  readonly nodeAddresses: ReadonlyMap<string, NodeName>;
  /** Listeners in force whose Service is no longer ours: nobody else could have them in this plan. */
  readonly lingering: ReadonlyMap<ListenerKey, ServiceKey>;
};

/** Snapshot → who gets which address, and the table of the host. Pure. */
export function planSnapshot(snapshot: Snapshot): Plan {
  const eligibility = new Map<ServiceKey, Eligibility>();
  const ours: Service[] = [];
  const leavingRecords: AddressRecord[] = [];
  for (const service of snapshot.services.values()) {
    const record = snapshot.records.get(service.uid);
    const answer = eligibilityOf(service, snapshot.site, record !== undefined);
    eligibility.set(service.key, answer);
    if (answer === 'ours') ours.push(service);
    if (answer === 'leaving' && record !== undefined) leavingRecords.push(record);
  }
  const { nodeAddresses, pool } = poolOf(snapshot.site.ranges, snapshot.nodes);
  const lingering = new Map<ListenerKey, ServiceKey>();
  for (const row of snapshot.inForce.rows.values())
    if (eligibility.get(row.service) !== 'ours') lingering.set(row.key, row.service);
  const addresses = planAddresses({
    services: ours,
    records: snapshot.records,
    site: snapshot.site,
    host: snapshot.host,
    nodeAddresses,
    pool,
    lingering,
  });
  const table = planTraffic({
    services: ours.filter((service) => service.finalizers.includes(ownFinalizer)),
    assignments: addresses.assignments,
    nodes: snapshot.nodes as ReadonlyMap<NodeName, Node>,
    drained: snapshot.drained,
  });
  const records =
    leavingRecords.length === 0
      ? addresses.records
      : new Map([...addresses.records, ...leavingRecords.map((record) => [record.uid, record] as const)]);
  return { ...addresses, records, eligibility, table, nodeAddresses, lingering };
}

type Pool = { readonly nodeAddresses: ReadonlyMap<string, NodeName>; readonly pool: readonly IpRange[] };

let lastPool:
  | { readonly ranges: readonly IpRange[]; readonly nodes: ReadonlyMap<string, Node>; readonly pool: Pool }
  | undefined;

/** The ranges without the nodes' own addresses; the same object while neither changed. */
function poolOf(ranges: readonly IpRange[], nodes: ReadonlyMap<string, Node>): Pool {
  if (lastPool?.ranges === ranges && lastPool.nodes === nodes) return lastPool.pool;
  const taken = [...nodes.values()].flatMap((node) =>
    node.allAddresses
      .filter((ip) => ranges.some((range) => rangeContains(range, ip)))
      .map((ip) => [ip, node.name] as const),
  );
  const pool = {
    nodeAddresses: new Map(taken.map(([ip, name]) => [ip.text, name])),
    pool: subtractRanges(
      mergeRanges(ranges),
      taken.map(([ip]) => rangeOf(ip)),
    ),
  };
  lastPool = { ranges, nodes, pool };
  return pool;
}
