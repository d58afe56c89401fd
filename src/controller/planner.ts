import type { AddressRecord, Assignment } from '../core/addresses/assignment.ts';
import { belongsTo, eligibilityOf, type Eligibility } from '../core/addresses/eligibility.ts';
import { makeAddressPlanner } from '../core/addresses/plan.ts';
import { makePools, type Pool } from '../core/addresses/pool.ts';
import { makeUsedByOthers } from '../core/addresses/used-by-others.ts';
import { fieldManager } from '../core/model/contract.ts';
import type { HostFacts } from '../core/model/host.ts';
import type { NodeName, ServiceKey, ServiceUid } from '../core/model/names.ts';
import type { Node } from '../core/model/node.ts';
import type { Service } from '../core/model/service.ts';
import type { Site } from '../core/model/site.ts';
import { PersistentMap } from '../core/persistent-map.ts';

/** Everything that a decision about addresses depends on, at one moment. Immutable. */
export type Snapshot = {
  readonly site: Site;
  readonly services: PersistentMap<ServiceKey, Service>;
  readonly nodes: PersistentMap<NodeName, Node>;
  readonly records: PersistentMap<ServiceUid, AddressRecord>;
  readonly host: HostFacts;
};

/** Who gets which address. Parts that did not change keep their identity from decision to decision. */
export type AddressDecision = {
  /** The Services that it was made for. */
  readonly services: Snapshot['services'];
  readonly eligibility: PersistentMap<ServiceKey, Eligibility>;
  /** The Services that are ours. */
  readonly ours: PersistentMap<ServiceKey, Service>;
  readonly assignments: PersistentMap<ServiceKey, Assignment>;
  /** Of all our Services, and of those that are leaving (without addresses): those are known to be ours to release. */
  readonly records: PersistentMap<ServiceUid, AddressRecord>;
  readonly pool: Pool;
};

/** The Services by whose they are. */
type Classified = Pick<Snapshot, 'services' | 'records'> &
  Pick<AddressDecision, 'eligibility' | 'ours'> & {
    readonly leaving: PersistentMap<ServiceKey, Service>;
    /** Those of other implementations with an address. */
    readonly others: PersistentMap<ServiceKey, Service>;
  };

const noServices: Classified = {
  services: PersistentMap.empty(),
  records: PersistentMap.empty(),
  eligibility: PersistentMap.empty(),
  ours: PersistentMap.empty(),
  leaving: PersistentMap.empty(),
  others: PersistentMap.empty(),
};

/**
 * Pure, except for a cache: what a planner remembers of its last decision saves work and never changes the answer. `site` must be
 * the same object in every snapshot.
 */
export function makePlanner(): (snapshot: Snapshot) => AddressDecision {
  const planAddresses = makeAddressPlanner();
  const poolOf = makePools();
  let classified = noServices;
  let findUsed: ReturnType<typeof makeUsedByOthers> | undefined;
  return ({ site, services, nodes, records, host }) => {
    classified = classifyServices(classified, services, records, site);
    const { ours, leaving, eligibility } = classified;
    findUsed ??= makeUsedByOthers(site);
    const usedByOthers = findUsed({ others: classified.others, ours, records });
    const pool = poolOf({ site, nodes, host, usedByOthers });
    const plan = planAddresses({ services: ours, records, site, host, pool });
    const released = Array.from(leaving.values(), ({ uid }): [ServiceUid, AddressRecord | undefined] => [
      uid,
      withoutAddresses(records.get(uid)),
    ]);
    return {
      services,
      eligibility,
      ours,
      assignments: plan.assignments,
      records: plan.records.with(released),
      pool,
    };
  };
}

/** A Service that is leaving keeps no address from others; its record only shows that it was ours. */
function withoutAddresses(record: AddressRecord | undefined): AddressRecord | undefined {
  if (record === undefined || (record.addresses.length === 0 && record.listeners.length === 0)) return record;
  return { ...record, addresses: [], listeners: [] };
}

function classifyServices(
  before: Classified,
  services: Snapshot['services'],
  records: Snapshot['records'],
  site: Site,
): Classified {
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
    others: before.others.with(
      answers.map(({ key, service, answer }) => [
        key,
        (answer === 'foreign' || answer === 'occupied') && service !== undefined && isAddressedByOther(service, site)
          ? service
          : undefined,
      ]),
    ),
  };
}

/** Not a Service that furiwake has released: it shows its former address until it is gone. */
function isAddressedByOther(service: Service, site: Site): boolean {
  const { spec, status } = service;
  const isReleased = belongsTo(service, site) && status.ingressManager === fieldManager;
  return spec.type === 'LoadBalancer' && status.ingress.length > 0 && !isReleased;
}
