import type { HostFacts } from '../model/host.ts';
import type { ServiceKey, ServiceUid } from '../model/names.ts';
import type { Service } from '../model/service.ts';
import type { Site } from '../model/site.ts';
import { PersistentMap } from '../persistent-map.ts';
import { share } from '../share.ts';
import { Allocation } from './allocation.ts';
import type { AddressRecord, Assignment } from './assignment.ts';
import { decideServices } from './decide.ts';
import type { Pool } from './pool.ts';

export type AddressInput = {
  /** Services that are ours (`eligibilityOf`). */
  readonly services: PersistentMap<ServiceKey, Service>;
  /** Records of other Services are ignored. */
  readonly records: PersistentMap<ServiceUid, AddressRecord>;
  readonly site: Site;
  readonly host: HostFacts;
  readonly pool: Pool;
};

export type AddressPlan = {
  readonly assignments: PersistentMap<ServiceKey, Assignment>;
  /** Of all the Services, also of those without an address. */
  readonly records: PersistentMap<ServiceUid, AddressRecord>;
};

/**
 * Gives each Service its addresses. Total and deterministic. Pure, except for a cache: what a planner remembers of its last plan
 * saves work and never changes the answer. To plan again with the records of a plan changes nothing.
 *
 * In this order, so that no Service loses what it has to one that wants it:
 *   1. listeners that are recorded, then other ports of Services with a recorded address;
 *   2. addresses in the status of Services without a record, if the pool holds them;
 *   3. requests, and moves to the pool that a Service requests. After each round of them steps 1 to 3 begin again, for a
 *      Service may have left what others want;
 *   4. addresses for all others: of the pool that they request or of any, the lowest one that Services with the same sharing
 *      key hold, else the lowest free one, else the lowest one in use, where no port clashes and sharing is permitted. If a
 *      Service takes one on request, those of its sharing key try again.
 * Within each step the older Service is first (creation time, then UID).
 *
 * A Service that has all it can have is *settled*: recorded listeners have precedence, so no plan could decide otherwise
 * while its spec, the pool and the host's own addresses stay. A plan decides only about Services that changed or are not
 * settled: one change among ten thousand Services costs as much as one among ten.
 */
export function makeAddressPlanner(): (input: AddressInput) => AddressPlan {
  let last: PlanState | undefined;
  return (input) => {
    const before = last;
    last = undefined; // The allocation changes in place: after an exception it cannot be continued.
    last = (before && nextState(before, input)) ?? firstState(input);
    return last.plan;
  };
}

/** A plan, and what the next one needs of it. */
type PlanState = {
  readonly input: AddressInput;
  readonly plan: AddressPlan;
  /** What all Services of the plan hold. */
  readonly allocation: Allocation;
  readonly unsettled: ReadonlySet<ServiceKey>;
};

function firstState(input: AddressInput): PlanState {
  const nothing: PlanState = {
    input: { ...input, services: PersistentMap.empty() },
    plan: { assignments: PersistentMap.empty(), records: PersistentMap.empty() },
    allocation: new Allocation(input.site, input.pool, input.host),
    unsettled: new Set(),
  };
  return decide(nothing, input, input.services.keys());
}

/** The plan for `input` after the one `before`; `undefined` if everything must be decided again. */
function nextState(before: PlanState, input: AddressInput): PlanState | undefined {
  const { input: old, plan, unsettled } = before;
  if (old.site !== input.site || old.pool !== input.pool || !hasSameAddresses(old.host, input.host)) return undefined;
  const changed = new Set<ServiceKey>();
  for (const key of PersistentMap.changedKeys(old.services, input.services)) {
    const [was, is] = [old.services.get(key), input.services.get(key)];
    // For a settled Service, finalizers and status decide nothing.
    const isSettled = !unsettled.has(key) && was?.spec === is?.spec && was?.uid === is?.uid;
    if (!isSettled) changed.add(key);
  }
  for (const uid of PersistentMap.changedKeys(plan.records, input.records)) {
    const key = (input.records.get(uid) ?? plan.records.get(uid))?.service;
    if (key !== undefined && input.services.get(key)?.uid === uid) changed.add(key);
  }
  const isSameGround = old.host === input.host && PersistentMap.changedKeys(old.records, input.records).length === 0;
  if (changed.size === 0 && isSameGround) return { ...before, input };
  return decide(before, input, [...changed, ...unsettled]);
}

function hasSameAddresses(a: HostFacts, b: HostFacts): boolean {
  return a === b || a.ownAddresses.map(({ text }) => text).join() === b.ownAddresses.map(({ text }) => text).join();
}

/** Decides about the Services `keys`; all others stay as they are. */
function decide(
  { input: old, plan, allocation, unsettled: before }: PlanState,
  input: AddressInput,
  keys: Iterable<ServiceKey>,
): PlanState {
  const anew = withGroups(new Set(keys), [old.services, input.services], allocation);
  const assignments = new Map<ServiceKey, Assignment | undefined>();
  const records = new Map<ServiceUid, AddressRecord | undefined>();
  const unsettled = new Set(before);
  for (const key of anew) {
    assignments.set(key, undefined);
    unsettled.delete(key);
    const was = old.services.get(key);
    if (was === undefined) continue;
    records.set(was.uid, undefined);
    for (const listener of plan.records.get(was.uid)?.listeners ?? []) allocation.release(listener, key);
  }
  const services = [...anew].flatMap((key) => input.services.get(key) ?? []);
  allocation.beginPlan(input.host);
  for (const decision of decideServices(services, input.records, input.site, allocation)) {
    const { key, uid } = decision.service;
    assignments.set(key, share(plan.assignments.get(key), decision.assignment));
    records.set(uid, decision.record);
    if (!decision.isSettled) unsettled.add(key);
  }
  return {
    input,
    plan: { assignments: plan.assignments.with(assignments), records: plan.records.with(records) },
    allocation,
    unsettled,
  };
}

/** With the Services of the same sharing keys: what a Service reads of sharing depends on the addresses of the others. */
function withGroups(
  keys: ReadonlySet<ServiceKey>,
  states: readonly AddressInput['services'][],
  allocation: Allocation,
): ReadonlySet<ServiceKey> {
  const sharingKeys = new Set(
    [...keys].flatMap((key) => states.flatMap((services) => services.get(key)?.spec.sharingKey ?? [])),
  );
  return new Set([...keys, ...[...sharingKeys].flatMap((sharingKey) => allocation.groupOf(sharingKey))]);
}
