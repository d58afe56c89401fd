import { exact } from '../exact.ts';
import { type Family, type Ip, parseIp } from '../ip/ip.ts';
import { fieldManager } from '../model/contract.ts';
import type { HostFacts } from '../model/host.ts';
import type { ListenerKey, NodeName, ServiceKey, ServiceUid } from '../model/names.ts';
import type { Service, ServicePort } from '../model/service.ts';
import type { Site } from '../model/site.ts';
import { PersistentMap } from '../persistent-map.ts';
import type { Verdict } from '../reasons.ts';
import { listenerKey } from '../traffic/table.ts';
import type { AddressRecord, AssignedAddress, Assignment } from './assignment.ts';
import type { Claims } from './claims.ts';
import { decidePorts, type PortDecision } from './ports.ts';
import { decodeRequest } from './request.ts';

/** What a decision depends on, beside the Service itself and what the others have. */
type Ground = {
  readonly site: Site;
  readonly host: HostFacts;
  readonly nodeAddresses: ReadonlyMap<string, NodeName>;
  readonly records: PersistentMap<ServiceUid, AddressRecord>;
};

/** What was decided about one Service. */
export type Decision = {
  readonly service: Service;
  readonly assignment: Assignment;
  readonly record: AddressRecord;
  /** It has all that it can have from this pool: while its spec stays, no plan could decide otherwise. */
  readonly isSettled: boolean;
  /** It gave an address back to take the one that it asks for. */
  readonly hasMoved: boolean;
};

/**
 * Decides about these Services, step by step as {@link makeAddressPlanner} tells; `claims` holds what all others have,
 * and then also what these got.
 */
export function decideDrafts(services: readonly Service[], ground: Ground, claims: Claims): readonly Decision[] {
  const drafts = services.map((service) => makeDraft(service, ground.records.get(service.uid), ground));
  drafts.sort((a, b) => a.service.createdAtMs - b.service.createdAtMs || (a.service.uid < b.service.uid ? -1 : 1));
  const failures: Failures = new Map();
  for (const draft of drafts) keepRecordedListeners(draft, claims, ground);
  for (const draft of drafts) claimPorts(draft, draft.addresses, claims, ground);
  for (const draft of drafts) if (draft.addresses.length === 0) adoptStatus(draft, claims, ground);
  for (const draft of drafts) {
    settle(draft, claims, ground, failures);
    if (isHalf(draft)) drop(draft, claims);
  }
  return drafts.map((draft) => {
    const found = finish(draft, claims, ground);
    const isComplete = isSettled(draft, found, claims);
    const assignment = { ...found, waitsForHost: draft.waitsForHost && !isComplete };
    const record = recordOf(draft, assignment);
    return {
      service: draft.service,
      assignment,
      record,
      isSettled: isComplete,
      hasMoved: draft.hasMoved,
    };
  });
}

/** One Service while the plan is made. */
type Draft = {
  readonly service: Service;
  readonly ports: PortDecision;
  readonly record: AddressRecord | undefined;
  /** Listeners that it had. */
  readonly recorded: ReadonlySet<ListenerKey>;
  addresses: readonly Ip[];
  verdict: Verdict | undefined;
  disowned: readonly string[];
  /** It gave an address back to take the one it asks for. */
  hasMoved: boolean;
  waitsForHost: boolean;
};

function makeDraft(service: Service, record: AddressRecord | undefined, { nodeAddresses }: Ground): Draft {
  const ports = decidePorts(service.spec);
  const addresses =
    ports.servable.length === 0
      ? []
      : (record?.addresses ?? []).filter(
          // One that a node has taken since is not announced against it.
          (ip) => service.spec.ipFamilies.includes(ip.family) && !nodeAddresses.has(ip.text),
        );
  const recorded = new Set(record?.listeners);
  return {
    service,
    ports,
    record,
    recorded,
    addresses,
    verdict: undefined,
    disowned: [],
    hasMoved: false,
    waitsForHost: false,
  };
}

function keepRecordedListeners(draft: Draft, claims: Claims, ground: Ground): void {
  if (draft.recorded.size > 0)
    claimPorts(draft, draft.addresses, claims, ground, (listener) => draft.recorded.has(listener));
}

/** Claims the ports that the host does not need itself; what others have stays theirs. */
function claimPorts(
  draft: Draft,
  addresses: readonly Ip[],
  claims: Claims,
  ground: Ground,
  isWanted: (listener: ListenerKey) => boolean = () => true,
): void {
  for (const ip of addresses) {
    for (const port of draft.ports.servable) {
      const listener = listenerKey(ip, port.port, port.protocol);
      if (isWanted(listener) && hostNeeds(draft, ip, port, ground) === undefined)
        claims.claim(listener, draft.service.key);
    }
  }
}

/** A Service that shows an address but is not in our records: a lost state directory, or somebody else's writing. */
function adoptStatus(draft: Draft, claims: Claims, ground: Ground): void {
  const { service } = draft;
  if (draft.ports.servable.length === 0) return;
  const isOurWriting = service.status.ingressManager === fieldManager && !ground.site.handsOutOwn;
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
    else if (obstacle(draft, ip, claims, ground) === undefined) adopted.push(ip);
  }
  const isEnough = !service.spec.requireDualStack || adopted.length === service.spec.ipFamilies.length;
  draft.addresses = isEnough ? adopted.sort((a, b) => a.family - b.family) : [];
  draft.disowned = disowned;
  claimPorts(draft, draft.addresses, claims, ground);
}

/** Requests and families that are still without an address. */
function settle(draft: Draft, claims: Claims, ground: Ground, failures: Failures): void {
  if (draft.ports.servable.length === 0) {
    draft.verdict = draft.ports.refused[0] ?? { reason: 'NodePortMissing', message: 'the Service has no ports' };
    return;
  }
  const request = decodeRequest(draft.service.spec);
  if (!request.ok) {
    draft.verdict = request.verdict;
    return; // what it has, it keeps; a new address on a misread request would be a surprise
  }
  for (const wanted of request.addresses) takeRequested(draft, wanted, claims, ground);
  if (draft.verdict !== undefined) return;
  const missing = draft.service.spec.ipFamilies.filter((family) => !draft.addresses.some((ip) => ip.family === family));
  const unfound: Verdict[] = [];
  for (const family of missing) {
    const found = findOnce(draft, family, claims, ground, failures);
    if (found.ok) take(draft, found.ip, claims, ground);
    else unfound.push(found.verdict);
  }
  const [failure] = unfound;
  const isRequired = draft.service.spec.requireDualStack || draft.addresses.length === 0;
  if (failure === undefined || !isRequired) return;
  draft.verdict = failure;
}

/** Two families are required, and a Service that has nothing yet got one only: it holds no address back from others. */
function isHalf({ service: { spec }, record, addresses }: Draft): boolean {
  return spec.requireDualStack && (record?.addresses ?? []).length === 0 && addresses.length < spec.ipFamilies.length;
}

function takeRequested(draft: Draft, wanted: Ip, claims: Claims, ground: Ground): void {
  const present = draft.addresses.find((ip) => ip.family === wanted.family);
  if (present?.text === wanted.text) return;
  const problem =
    claims.inPool(wanted) || ground.nodeAddresses.has(wanted.text)
      ? obstacle(draft, wanted, claims, ground)
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
  take(draft, wanted, claims, ground);
}

function notInPool(ip: Ip): Verdict {
  return { reason: 'AddressNotInPool', message: `${ip.text} is not in --addresses` };
}

type Found = { readonly ok: true; readonly ip: Ip } | { readonly ok: false; readonly verdict: Verdict };

/** Ports for which no address was found, and how much had been given back by then. */
type Failures = Map<string, { readonly releases: number; readonly verdict: Verdict; readonly waitsForHost: boolean }>;

/** Looks for an address; not again for the same ports while nothing was given back: thousands may wait for one. */
function findOnce(draft: Draft, family: Family, claims: Claims, ground: Ground, failures: Failures): Found {
  const ports = `${family} ${draft.ports.servable.map(({ port, protocol }) => `${port}/${protocol}`).join()}`;
  const known = failures.get(ports);
  if (known !== undefined && known.releases === claims.releases) {
    draft.waitsForHost ||= known.waitsForHost;
    return { ok: false, verdict: known.verdict };
  }
  const found = findAddress(draft, family, claims, ground);
  if (!found.ok) {
    const { waitsForHost } = draft;
    failures.set(ports, { releases: claims.releases, verdict: found.verdict, waitsForHost });
  }
  return found;
}

/** The lowest free address, else the lowest one that can be shared. */
function findAddress(draft: Draft, family: Family, claims: Claims, ground: Ground): Found {
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
      const problem = obstacle(draft, ip, claims, ground);
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
function obstacle(draft: Draft, ip: Ip, claims: Claims, ground: Ground): Verdict | undefined {
  const node = ground.nodeAddresses.get(ip.text);
  if (node !== undefined) return { reason: 'AddressInUse', message: `${ip.text} is the address of node ${node}` };
  for (const port of draft.ports.servable) {
    const need = hostNeeds(draft, ip, port, ground);
    if (need !== undefined) return need;
    const holder = claims.holderOf(listenerKey(ip, port.port, port.protocol));
    if (holder !== undefined && holder !== draft.service.key) return conflict(ip, port.port, holder);
  }
  return undefined;
}

/** Why no Service may have this port of an own address of the host: an administrator never loses ssh to one. */
function hostNeeds(draft: Draft, ip: Ip, port: ServicePort, ground: Ground): Verdict | undefined {
  const need = needOf(draft, ip, port, ground);
  draft.waitsForHost ||= need !== undefined;
  return need;
}

function needOf(
  { recorded }: Draft,
  ip: Ip,
  { port, protocol }: ServicePort,
  { host, site }: Ground,
): Verdict | undefined {
  if (!host.ownAddresses.some((own) => own.text === ip.text)) return undefined;
  if (site.reservedPorts.has(port)) {
    return {
      reason: 'PortInUseOnHost',
      message: `port ${port} of ${ip.text}, an address of the load-balancer host itself, is one of --reserved-ports`,
    };
  }
  // A program that came after the Service never had the port to itself.
  if (recorded.has(listenerKey(ip, port, protocol))) return undefined;
  if (!host.listening.some((socket) => socket.port === port && listensOn(socket, ip))) return undefined;
  return {
    reason: 'PortInUseOnHost',
    message: `a program on the load-balancer host listens on port ${port} of its address ${ip.text}`,
  };
}

function listensOn(socket: HostFacts['listening'][number], ip: Ip): boolean {
  if (socket.address !== undefined) return socket.address.text === ip.text;
  return socket.family === ip.family || socket.family === 6; // `::` takes IPv4 too, unless the program said otherwise
}

function conflict(ip: Ip, port: number, holder: ServiceKey): Verdict {
  return { reason: 'PortConflict', message: `port ${port} of ${ip.text} belongs to Service ${holder}` };
}

function take(draft: Draft, ip: Ip, claims: Claims, ground: Ground): void {
  claimPorts(draft, [ip], claims, ground);
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

function finish(draft: Draft, claims: Claims, ground: Ground): Omit<Assignment, 'waitsForHost'> {
  const addresses = draft.addresses.map((ip): AssignedAddress => {
    const served: ServicePort[] = [];
    const taken: (Verdict & { port: ServicePort })[] = [];
    for (const port of draft.ports.servable) {
      const need = hostNeeds(draft, ip, port, ground);
      const holder = claims.holderOf(listenerKey(ip, port.port, port.protocol));
      if (need !== undefined) taken.push({ port, ...need });
      else if (holder === undefined || holder === draft.service.key) served.push(port);
      else taken.push({ port, ...conflict(ip, port.port, holder) });
    }
    return { ip, served: exact(served), taken };
  });
  const texts = draft.addresses.map((ip) => ip.text).join(', ');
  const verdict = draft.verdict ?? { reason: 'Assigned', message: `assigned ${texts}` };
  return { addresses, verdict, refused: draft.ports.refused, disowned: draft.disowned };
}

function isSettled(
  { service }: Draft,
  { verdict, addresses, disowned }: Omit<Assignment, 'waitsForHost'>,
  claims: Claims,
): boolean {
  return (
    addresses.length > 0 &&
    verdict.reason === 'Assigned' &&
    disowned.length === 0 &&
    addresses.every(({ taken }) => taken.length === 0) &&
    service.spec.ipFamilies.every(
      (family) => !claims.hasFamily(family) || addresses.some(({ ip }) => ip.family === family),
    )
  );
}

/** The same record object when nothing in it changed. */
function recordOf(draft: Draft, { addresses }: Pick<Assignment, 'addresses'>): AddressRecord {
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
