import type { HostFacts } from '../model/host.ts';
import type { ServiceKey, ServiceUid } from '../model/names.ts';
import type { Service } from '../model/service.ts';
import type { Site } from '../model/site.ts';
import { PersistentMap } from '../persistent-map.ts';
import { listenerKey } from '../traffic/table.ts';
import { type AddressRecord, type Assignment, isSameAssignment } from './assignment.ts';
import { Claims } from './claims.ts';
import { decideServices } from './decide.ts';
import type { Pool } from './pool.ts';

export type AddressInput = {
  /** Services that are ours (`eligibilityOf`). */
  readonly services: PersistentMap<ServiceKey, Service>;
  /** Those of other Services are passed over. */
  readonly records: PersistentMap<ServiceUid, AddressRecord>;
  readonly site: Site;
  readonly host: HostFacts;
  readonly pool: Pool;
};

export type AddressPlan = {
  readonly assignments: PersistentMap<ServiceKey, Assignment>;
  /** Of all the Services: also of those that have no address. */
  readonly records: PersistentMap<ServiceUid, AddressRecord>;
};

/**
 * Gives each Service its addresses. Total, deterministic, and as good as pure: what a planner remembers of its last
 * plan saves work and never changes the answer. Planning again with the records of a plan changes nothing.
 *
 * In this order, so that no Service loses what it has to one that wants it:
 *   1. listeners that are recorded, then other ports of Services with a recorded address;
 *   2. addresses found in status: in the pool, or written by us;
 *   3. requests, moves and new addresses (requested, else lowest free, else shared where no port clashes);
 * within each step the older Service first (creation time, then UID).
 *
 * A Service that has all it can have is *settled*: recorded listeners go before everything else, so while its spec, the
 * pool and the host's own addresses stay, no plan could decide otherwise. Only the others, and those that changed, are
 * decided anew: one change among ten thousand Services costs what one among ten does.
 */
export function makeAddressPlanner(): (input: AddressInput) => AddressPlan {
  let last: Round | undefined;
  return (input) => {
    const before = last;
    last = undefined; // its claims change in place: if this throws, there is nothing to go on with
    let round = (before === undefined ? undefined : goOn(before, input)) ?? begin(input);
    // An address that one Service left may be what another waits for; no Service moves twice.
    while (round.hasMoved) {
      const records = { ...input, records: round.plan.records };
      round = decide({ ...round, input: records }, records, round.unsettled);
    }
    last = round;
    return round.plan;
  };
}

/** A plan, and what the next one needs of it. */
type Round = {
  readonly input: AddressInput;
  readonly plan: AddressPlan;
  /** Of all Services of the plan. */
  readonly claims: Claims;
  readonly unsettled: ReadonlySet<ServiceKey>;
  readonly hasMoved: boolean;
};

function begin(input: AddressInput): Round {
  const nothing: Round = {
    input: { ...input, services: PersistentMap.empty() },
    plan: { assignments: PersistentMap.empty(), records: PersistentMap.empty() },
    claims: new Claims(input.pool.ranges),
    unsettled: new Set(),
    hasMoved: false,
  };
  return decide(nothing, input, input.services.keys());
}

/** The plan for `input` after the one `before`; `undefined` where that is no ground to go on from. */
function goOn(before: Round, input: AddressInput): Round | undefined {
  const { input: old, plan, unsettled } = before;
  if (old.site !== input.site || old.pool !== input.pool || !hasSameAddresses(old.host, input.host)) return undefined;
  const changed = new Set<ServiceKey>();
  for (const key of PersistentMap.changedKeys(old.services, input.services)) {
    const [was, is] = [old.services.get(key), input.services.get(key)];
    // Finalizers and status decide nothing for one that has all it can have.
    const isSettled = !unsettled.has(key) && was?.spec === is?.spec && was?.uid === is?.uid;
    if (!isSettled) changed.add(key);
  }
  for (const uid of PersistentMap.changedKeys(plan.records, input.records)) {
    const key = (input.records.get(uid) ?? plan.records.get(uid))?.service;
    if (key !== undefined && input.services.get(key)?.uid === uid) changed.add(key);
  }
  const isSameGround =
    PersistentMap.changedKeys(old.records, input.records).length === 0 && // what the last plan gave is recorded now
    old.host === input.host;
  if (changed.size === 0 && isSameGround) return { ...before, input };
  return decide(before, input, [...changed, ...unsettled]);
}

/** Decides about `keys` with all others as they are. */
function decide(before: Round, input: AddressInput, keys: Iterable<ServiceKey>): Round {
  const { claims, plan } = before;
  const anew = new Set(keys);
  for (const key of anew) giveBack(claims, key, plan.assignments.get(key));

  const services = [...anew].flatMap((key) => input.services.get(key) ?? []);
  const decisions = decideServices(services, input, claims);

  const assignments = new Map<ServiceKey, Assignment | undefined>();
  const records = new Map<ServiceUid, AddressRecord | undefined>();
  const unsettled = new Set(before.unsettled);
  for (const key of anew) {
    assignments.set(key, undefined);
    unsettled.delete(key);
    const was = before.input.services.get(key);
    if (was !== undefined) records.set(was.uid, undefined);
  }
  let hasMoved = false;
  for (const decision of decisions) {
    const { key, uid } = decision.service;
    const present = plan.assignments.get(key);
    assignments.set(
      key,
      present !== undefined && isSameAssignment(present, decision.assignment) ? present : decision.assignment,
    );
    records.set(uid, decision.record);
    if (!decision.isSettled) unsettled.add(key);
    hasMoved ||= decision.hasMoved;
  }
  return {
    input,
    plan: { assignments: plan.assignments.with(assignments), records: plan.records.with(records) },
    claims,
    unsettled,
    hasMoved,
  };
}

function hasSameAddresses(a: HostFacts, b: HostFacts): boolean {
  return a === b || a.ownAddresses.map(({ text }) => text).join() === b.ownAddresses.map(({ text }) => text).join();
}

function giveBack(claims: Claims, service: ServiceKey, assignment: Assignment | undefined): void {
  for (const { ip, served } of assignment?.addresses ?? [])
    for (const { port, protocol } of served) claims.release(listenerKey(ip, port, protocol), service);
}
