import { exact } from '../exact.ts';
import { type Family, type Ip, parseIp } from '../ip/ip.ts';
import type { HostFacts } from '../model/host.ts';
import type { ListenerKey, NodeName, ServiceKey, ServiceUid } from '../model/names.ts';
import type { Service, ServicePort } from '../model/service.ts';
import type { Site } from '../model/site.ts';
import { fieldManager } from '../model/contract.ts';
import type { Verdict } from '../reasons.ts';
import { listenerKey } from '../traffic/table.ts';
import { Claims } from './claims.ts';
import { decidePorts, type PortDecision } from './ports.ts';
import { decodeRequest } from './request.ts';

/** What is remembered of a Service that has an address: it keeps that, and the listeners it was first to have. */
export type AddressRecord = {
  readonly uid: ServiceUid;
  readonly service: ServiceKey;
  readonly addresses: readonly Ip[];
  readonly listeners: readonly ListenerKey[];
};

/** An address of a Service: the ports that are served on it, and those that another Service has there. */
export type AssignedAddress = {
  readonly ip: Ip;
  readonly served: readonly ServicePort[];
  readonly taken: PortDecision['refused'];
};

/** The addresses of one Service, and what becomes of each of its ports. */
export type Assignment = {
  /** At most one per family, IPv4 first; empty when it has none. */
  readonly addresses: readonly AssignedAddress[];
  /** `Assigned`, or why it has no address, or why it keeps one that it no longer asks for. */
  readonly verdict: Verdict;
  /** Ports that can be served nowhere. */
  readonly refused: PortDecision['refused'];
  /** An address in status, from somebody else and outside the pool, that is not taken over. */
  readonly disowned: readonly string[];
};

export type AddressInput = {
  /** Services that are ours (`eligibilityOf`), in any order. */
  readonly services: readonly Service[];
  readonly records: ReadonlyMap<ServiceUid, AddressRecord>;
  readonly site: Site;
  readonly host: HostFacts;
  /** Addresses of cluster nodes: never handed out. */
  readonly nodeAddresses: ReadonlyMap<string, NodeName>;
  /** `site.ranges` without the nodes' addresses, merged. */
  readonly pool: Site['ranges'];
  /** Listeners that are still programmed for Services that are no longer ours: nobody may have them yet. */
  readonly lingering: ReadonlyMap<ListenerKey, ServiceKey>;
};

export type AddressPlan = {
  readonly assignments: ReadonlyMap<ServiceKey, Assignment>;
  readonly records: ReadonlyMap<ServiceUid, AddressRecord>;
};

/**
 * Gives each Service its addresses. Pure, total, deterministic; planning again with the records of a plan changes nothing.
 *
 * In this order, so that nobody who has something loses it to somebody who wants it:
 *   1. listeners that are recorded, then other ports of Services with a recorded address;
 *   2. addresses found in status: in the pool, or written by us;
 *   3. requests, moves and new addresses (requested, else lowest free, else shared where no port clashes);
 * within each step the older Service first (creation time, then UID).
 */
export function planAddresses(input: AddressInput): AddressPlan {
  if (last !== undefined && decidesNothingNew(last, input)) {
    last = { ...last, input };
    return last.plan;
  }
  for (let records = input.records; ;) {
    const { plan, hasMoved, areAllSettled } = planOnce({ ...input, records });
    if (!hasMoved) {
      last = { input, plan, areAllSettled };
      return plan;
    }
    records = plan.records; // what the mover left may be what another one waits for; nobody moves twice
  }
}

type Planned = { readonly input: AddressInput; readonly plan: AddressPlan; readonly areAllSettled: boolean };

let last: Planned | undefined;

/**
 * True when planning anew would give the same plan: the answers to our own writes bring Services that differ in their
 * finalizers and status only, and these decide nothing for one that has all it can have.
 */
function decidesNothingNew({ input: before, plan, areAllSettled }: Planned, input: AddressInput): boolean {
  const { services, records, site, host, pool, nodeAddresses, lingering } = input;
  const isSameInput = records === before.records;
  if (!isSameInput && !(areAllSettled && records === plan.records)) return false;
  if (site !== before.site || host !== before.host || pool !== before.pool) return false;
  if (nodeAddresses !== before.nodeAddresses || lingering.size > 0 || before.lingering.size > 0) return false;
  return (
    services.length === before.services.length &&
    services.every((service, index) => {
      const old = before.services[index];
      return (
        service === old || (service.spec === old?.spec && service.uid === old.uid && isSettled(service, input, plan))
      );
    })
  );
}

/** Whether the plan gave it all that it can have from this pool: see {@link settledMemo}. */
function isSettled({ key, uid, spec }: Service, { pool }: AddressInput, plan: AddressPlan): boolean {
  const record = plan.records.get(uid);
  const known = record === undefined ? undefined : settledMemo.get(record);
  return (
    known !== undefined && known.spec === spec && known.pool === pool && known.assignment === plan.assignments.get(key)
  );
}

type Round = Pick<Planned, 'plan' | 'areAllSettled'> & { readonly hasMoved: boolean };

function planOnce(input: AddressInput): Round {
  const claims = new Claims(input.pool);
  for (const [listener, service] of input.lingering) claims.claim(listener, service);

  const assignments = new Map<ServiceKey, Assignment>();
  const records = new Map<ServiceUid, AddressRecord>();
  const drafts: Draft[] = [];
  for (const service of input.services) {
    const record = input.records.get(service.uid);
    const settled = record === undefined ? undefined : settledAssignment(service, record, input, claims);
    if (record === undefined || settled === undefined) drafts.push(makeDraft(service, record));
    else {
      assignments.set(service.key, settled);
      records.set(service.uid, record);
    }
  }
  drafts.sort((a, b) => a.service.createdAtMs - b.service.createdAtMs || (a.service.uid < b.service.uid ? -1 : 1));

  for (const draft of drafts) keepRecordedListeners(draft, claims);
  for (const draft of drafts) claimPorts(draft, draft.addresses, claims);
  for (const draft of drafts) if (draft.addresses.length === 0) adoptStatus(draft, claims, input);
  for (const draft of drafts) {
    settle(draft, claims, input);
    if (isHalf(draft)) drop(draft, claims);
  }

  let areAllSettled = true;
  for (const draft of drafts) {
    const assignment = finish(draft, claims);
    assignments.set(draft.service.key, assignment);
    const record = assignment.addresses.length === 0 ? undefined : recordOf(draft, assignment);
    if (record !== undefined) records.set(draft.service.uid, record);
    if (record !== undefined && hasAll(assignment))
      settledMemo.set(record, { spec: draft.service.spec, pool: input.pool, assignment });
    else areAllSettled = false;
  }
  return { plan: { assignments, records }, hasMoved: drafts.some((draft) => draft.hasMoved), areAllSettled };
}

function hasAll({ verdict, addresses }: Assignment): boolean {
  return verdict.reason === 'Assigned' && addresses.every(({ taken }) => taken.length === 0);
}

/**
 * Records whose Service has all it can have from this pool. While spec and pool are the same objects the answer cannot
 * differ, for recorded listeners go before everything else; so only its listeners are claimed again.
 */
const settledMemo = new WeakMap<
  AddressRecord,
  { readonly spec: Service['spec']; readonly pool: AddressInput['pool']; readonly assignment: Assignment }
>();

function settledAssignment(
  service: Service,
  record: AddressRecord,
  input: AddressInput,
  claims: Claims,
): Assignment | undefined {
  const known = settledMemo.get(record);
  if (known === undefined || known.spec !== service.spec || known.pool !== input.pool) return undefined;
  let isHeld = true;
  for (const listener of record.listeners) isHeld = claims.claim(listener, service.key) && isHeld;
  return isHeld ? known.assignment : undefined;
}

/** One Service while the plan is made. */
type Draft = {
  readonly service: Service;
  readonly ports: PortDecision;
  readonly record: AddressRecord | undefined;
  addresses: readonly Ip[];
  verdict: Verdict | undefined;
  disowned: readonly string[];
  /** It gave an address back to take the one it asks for. */
  hasMoved: boolean;
};

function makeDraft(service: Service, record: AddressRecord | undefined): Draft {
  const ports = decidePorts(service.spec);
  const addresses =
    ports.servable.length === 0
      ? []
      : (record?.addresses ?? []).filter((ip) => service.spec.ipFamilies.includes(ip.family));
  return { service, ports, record, addresses, verdict: undefined, disowned: [], hasMoved: false };
}

function keepRecordedListeners(draft: Draft, claims: Claims): void {
  const recorded = new Set<ListenerKey>(draft.record?.listeners);
  if (recorded.size === 0) return;
  for (const ip of draft.addresses) {
    for (const port of draft.ports.servable) {
      const listener = listenerKey(ip, port.port, port.protocol);
      if (recorded.has(listener)) claims.claim(listener, draft.service.key);
    }
  }
}

function claimPorts(draft: Draft, addresses: readonly Ip[], claims: Claims): void {
  for (const ip of addresses) {
    for (const port of draft.ports.servable) claims.claim(listenerKey(ip, port.port, port.protocol), draft.service.key);
  }
}

/** A Service that shows an address but is not in our records: a lost state directory, or somebody else's writing. */
function adoptStatus(draft: Draft, claims: Claims, input: AddressInput): void {
  const { service } = draft;
  if (draft.ports.servable.length === 0) return;
  const isOurWriting = service.status.ingressManager === fieldManager && !input.site.handsOutOwn;
  const adopted: Ip[] = [];
  const disowned: string[] = [];
  for (const { ip: text } of service.status.ingress) {
    const ip = text === undefined ? undefined : parseIp(text);
    if (
      ip === undefined ||
      !service.spec.ipFamilies.includes(ip.family) ||
      adopted.some((other) => other.family === ip.family)
    )
      continue;
    if (!isOurWriting && !claims.inPool(ip)) disowned.push(ip.text);
    else if (obstacle(draft, ip, claims, input) === undefined) adopted.push(ip);
  }
  const isEnough = !service.spec.requireDualStack || adopted.length === service.spec.ipFamilies.length;
  draft.addresses = isEnough ? adopted.sort((a, b) => a.family - b.family) : [];
  draft.disowned = disowned;
  claimPorts(draft, draft.addresses, claims);
}

/** Requests and families that are still without an address. */
function settle(draft: Draft, claims: Claims, input: AddressInput): void {
  if (draft.ports.servable.length === 0) {
    draft.verdict = draft.ports.refused[0] ?? { reason: 'NodePortMissing', message: 'the Service has no ports' };
    return;
  }
  const request = decodeRequest(draft.service.spec);
  if (!request.ok) {
    draft.verdict = request.verdict;
    return; // what it has, it keeps; a new address on a misread request would be a surprise
  }
  for (const wanted of request.addresses) takeRequested(draft, wanted, claims, input);
  if (draft.verdict !== undefined) return;
  const missing = draft.service.spec.ipFamilies.filter((family) => !draft.addresses.some((ip) => ip.family === family));
  const failures: Verdict[] = [];
  for (const family of missing) {
    const found = findAddress(draft, family, claims, input);
    if (found.ok) take(draft, found.ip, claims);
    else failures.push(found.verdict);
  }
  const [failure] = failures;
  const isRequired = draft.service.spec.requireDualStack || draft.addresses.length === 0;
  if (failure === undefined || !isRequired) return;
  draft.verdict = failure;
}

/** Two families are required, and a Service that has nothing yet got one only: it holds no address back from others. */
function isHalf({ service: { spec }, record, addresses }: Draft): boolean {
  return spec.requireDualStack && record === undefined && addresses.length < spec.ipFamilies.length;
}

function takeRequested(draft: Draft, wanted: Ip, claims: Claims, input: AddressInput): void {
  const present = draft.addresses.find((ip) => ip.family === wanted.family);
  if (present?.text === wanted.text) return;
  const problem =
    claims.inPool(wanted) || input.nodeAddresses.has(wanted.text)
      ? obstacle(draft, wanted, claims, input)
      : notInPool(wanted);
  if (problem !== undefined) {
    draft.verdict =
      present === undefined
        ? problem
        : { ...problem, message: `${problem.message}; the Service keeps ${present.text}` };
    return;
  }
  if (present !== undefined) {
    give(draft, present, claims);
    draft.hasMoved = true;
  }
  take(draft, wanted, claims);
}

function notInPool(ip: Ip): Verdict {
  return { reason: 'AddressNotInPool', message: `${ip.text} is not in --addresses` };
}

type Found = { readonly ok: true; readonly ip: Ip } | { readonly ok: false; readonly verdict: Verdict };

/** The lowest free address, else the lowest one that can be shared. */
function findAddress(draft: Draft, family: Family, claims: Claims, input: AddressInput): Found {
  if (!claims.hasFamily(family)) {
    return {
      ok: false,
      verdict: { reason: 'FamilyUnavailable', message: `--addresses holds no IPv${family} address` },
    };
  }
  let first: Verdict | undefined;
  let count = 0;
  for (const candidates of [() => claims.free(family), () => claims.inUse(family)]) {
    for (const ip of candidates()) {
      const problem = obstacle(draft, ip, claims, input);
      if (problem === undefined) return { ok: true, ip };
      first ??= problem;
      count++;
    }
  }
  if (count === 1 && first !== undefined) return { ok: false, verdict: first };
  const message = `none of the ${count} IPv${family} addresses in --addresses can take this Service${first === undefined ? '' : `; the first: ${first.message}`}`;
  return { ok: false, verdict: { reason: 'PoolExhausted', message } };
}

/** Why the Service cannot have all of its ports on this address; `undefined` when it can. */
function obstacle(draft: Draft, ip: Ip, claims: Claims, input: AddressInput): Verdict | undefined {
  const node = input.nodeAddresses.get(ip.text);
  if (node !== undefined) return { reason: 'AddressInUse', message: `${ip.text} is the address of node ${node}` };
  const isOwn = input.host.ownAddresses.some((own) => own.text === ip.text);
  for (const { port, protocol } of draft.ports.servable) {
    if (isOwn && input.site.reservedPorts.has(port)) {
      return {
        reason: 'PortInUseOnHost',
        message: `port ${port} of ${ip.text}, an address of the load-balancer host itself, is one of --reserved-ports`,
      };
    }
    if (isOwn && input.host.listening.some((socket) => socket.port === port && listensOn(socket, ip))) {
      return {
        reason: 'PortInUseOnHost',
        message: `a program on the load-balancer host listens on port ${port} of its address ${ip.text}`,
      };
    }
    const holder = claims.holderOf(listenerKey(ip, port, protocol));
    if (holder !== undefined && holder !== draft.service.key) return conflict(ip, port, holder);
  }
  return undefined;
}

function listensOn(socket: HostFacts['listening'][number], ip: Ip): boolean {
  if (socket.address !== undefined) return socket.address.text === ip.text;
  return socket.family === ip.family || socket.family === 6; // `::` takes IPv4 too, unless the program said otherwise
}

function conflict(ip: Ip, port: number, holder: ServiceKey): Verdict {
  return { reason: 'PortConflict', message: `port ${port} of ${ip.text} belongs to Service ${holder}` };
}

function take(draft: Draft, ip: Ip, claims: Claims): void {
  claimPorts(draft, [ip], claims);
  draft.addresses = [...draft.addresses, ip].sort((a, b) => a.family - b.family);
}

function give(draft: Draft, ip: Ip, claims: Claims): void {
  for (const { port, protocol } of draft.ports.servable)
    claims.release(listenerKey(ip, port, protocol), draft.service.key);
  draft.addresses = draft.addresses.filter((other) => other !== ip);
}

function drop(draft: Draft, claims: Claims): void {
  for (const ip of draft.addresses) give(draft, ip, claims);
}

function finish(draft: Draft, claims: Claims): Assignment {
  const addresses = draft.addresses.map((ip): AssignedAddress => {
    const served: ServicePort[] = [];
    const taken: (Verdict & { port: ServicePort })[] = [];
    for (const port of draft.ports.servable) {
      const holder = claims.holderOf(listenerKey(ip, port.port, port.protocol));
      if (holder === undefined || holder === draft.service.key) served.push(port);
      else taken.push({ port, ...conflict(ip, port.port, holder) });
    }
    return { ip, served: exact(served), taken };
  });
  const texts = draft.addresses.map((ip) => ip.text).join(', ');
  const verdict = draft.verdict ?? { reason: 'Assigned', message: `assigned ${texts}` };
  return { addresses, verdict, refused: draft.ports.refused, disowned: draft.disowned };
}

/** The same record object when nothing in it changed. */
function recordOf(draft: Draft, { addresses }: Assignment): AddressRecord {
  const listeners = exact(
    addresses.flatMap(({ ip, served }) => served.map((port) => listenerKey(ip, port.port, port.protocol))),
  );
  const { record } = draft;
  const isSame =
    record !== undefined &&
    sameTexts(record.listeners, listeners) &&
    sameTexts(
      record.addresses.map((ip) => ip.text),
      draft.addresses.map((ip) => ip.text),
    );
  if (isSame) return record;
  return { uid: draft.service.uid, service: draft.service.key, addresses: draft.addresses, listeners };
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, index) => text === b[index]);
}
