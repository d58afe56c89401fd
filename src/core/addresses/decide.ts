import { type Ip, parseIp } from '../ip/ip.ts';
import { fieldManager } from '../model/contract.ts';
import type { ServiceUid } from '../model/names.ts';
import { compareAge, type Service } from '../model/service.ts';
import type { Site } from '../model/site.ts';
import type { PersistentMap } from '../persistent-map.ts';
import type { Verdict } from '../reasons.ts';
import { share } from '../share.ts';
import { sentences, shortened } from '../status/sentences.ts';
import { listenerKey } from '../traffic/table.ts';
import type { Allocation } from './allocation.ts';
import type { AddressRecord, AssignedAddress, Assignment } from './assignment.ts';
import { decodePorts } from './request.ts';
import { type AssignmentDraft, claimPorts, claimRecorded, leaveAddress, makeDraft, takeAddresses } from './draft.ts';

/** What was decided about one Service. */
export type ServiceDecision = {
  readonly service: Service;
  readonly assignment: Assignment;
  readonly record: AddressRecord;
  /** The Service has all that it can have from this pool: no plan could decide otherwise until its spec changes. */
  readonly isSettled: boolean;
};

/**
 * Decides about these Services in the order that `makeAddressPlanner` documents. `allocation` has what all others hold,
 * and afterwards also what these were given.
 */
export function decideServices(
  services: readonly Service[],
  records: PersistentMap<ServiceUid, AddressRecord>,
  site: Site,
  allocation: Allocation,
): readonly ServiceDecision[] {
  const drafts = services.map((service) => makeDraft(service, records.get(service.uid), site, allocation));
  drafts.sort((a, b) => compareAge(a.service, b.service));
  const asking = new Set(drafts.filter((draft) => asks(draft, allocation)));
  for (const draft of drafts) claimRecorded(draft, allocation);
  // Each Service takes an address of a family, by request or by moving to its pool, at most once.
  let isChanged = true;
  for (let left = 2 * asking.size; isChanged && left >= 0; left--) {
    isChanged = false;
    for (const draft of drafts) claimPorts(draft, draft.addresses, allocation);
    for (const draft of drafts) if (draft.addresses.length === 0) adoptStatus(draft, site, allocation);
    allocation.forgetFailures();
    for (const draft of asking) if (settle(draft, allocation)) isChanged = true;
  }
  const others = drafts.filter((draft) => !asking.has(draft));
  let isOpened = others.map((draft) => settle(draft, allocation)).includes(true);
  for (let left = 2 * drafts.length; isOpened && left >= 0; left--) {
    allocation.forgetFailures();
    isOpened = drafts.map((draft) => settle(draft, allocation)).includes(true);
  }
  return drafts.map((draft) => finish(draft, site, allocation));
}

/** Whether the Service requests certain addresses, or has one that is not of the pool that it requests. */
function asks(draft: AssignmentDraft, allocation: Allocation): boolean {
  const { request, addresses } = draft;
  return (
    (request.ok && request.addresses.length > 0) ||
    addresses.some((ip) => allocation.poolConflict(draft, ip) !== undefined)
  );
}

/**
 * Adopts addresses of a status without a record: the state directory was lost, or another client wrote them. Any client
 * with access to `services/status` can do that, so the status proves nothing: the Service must be allowed to have them.
 */
function adoptStatus(draft: AssignmentDraft, site: Site, allocation: Allocation): void {
  const { spec, status } = draft.service;
  if (draft.ports.length === 0) return;
  const adopted: Ip[] = [];
  const disowned: string[] = [];
  let isOfOtherPool = true;
  for (const { ip: text } of status.ingress) {
    const ip = text === undefined ? undefined : parseIp(text);
    if (ip === undefined || !spec.ipFamilies.includes(ip.family)) continue;
    if (adopted.some((other) => other.family === ip.family)) continue;
    const answer = allocation.mayHave(draft, ip);
    if (answer === true) adopted.push(ip);
    else if (answer.reason === 'AddressNotInPool' || answer.reason === 'AddressInUse') {
      disowned.push(ip.text);
      isOfOtherPool &&= answer.reason === 'AddressNotInPool';
    }
  }
  draft.disowned = disowned;
  // furiwake published these addresses: this host with `--addresses`, which are missing now; or, if the Service has no record, any
  // host with another pool and another state directory.
  const { addresses = [], hostAddresses = [] } = draft.record ?? {};
  const ofPool = new Set(addresses.map((ip) => ip.text).filter((text) => !hostAddresses.includes(text)));
  const isOrphan = addresses.length === 0 ? !site.movesServices : disowned.every((text) => ofPool.has(text));
  const isOurs = status.ingressManager === fieldManager && isOrphan;
  draft.keepsStatus = isOurs && isOfOtherPool && disowned.length > 0 && adopted.length === 0;
  if (!spec.requireDualStack || adopted.length === spec.ipFamilies.length) takeAddresses(draft, adopted, allocation);
}

/**
 * Grants requests, and finds an address for each family that is still without one. Returns whether others may now have what
 * was refused to them before: the Service left an address, or took one that others may share.
 */
function settle(draft: AssignmentDraft, allocation: Allocation): boolean {
  const { request } = draft;
  draft.verdict = undefined;
  draft.lacking = [];
  draft.waitsForHost = false;
  if (draft.ports.length === 0) {
    const [{ reason } = { reason: 'NodePortMissing' as const }] = draft.refused;
    const message = draft.refused.length > 0 ? shortened(sentences(draft.refused)) : 'the Service has no ports';
    draft.verdict = { reason, message };
    return false;
  }
  if (!request.ok) {
    draft.verdict = request.verdict;
    return false; // It keeps what it has, and gets nothing new that it may not have meant.
  }
  if (draft.keepsStatus && request.addresses.length === 0) {
    draft.verdict = ofOtherPool(draft.disowned);
    return false;
  }
  const granted = request.addresses.filter((wanted) => takeRequested(draft, wanted, allocation));
  const hasOpened = draft.verdict === undefined && findOthers(draft, allocation);
  if (!isHalf(draft)) return granted.length > 0 || hasOpened;
  for (const ip of draft.addresses) leaveAddress(draft, ip, allocation);
  return false;
}

/**
 * Finds an address for each family that has none of the pool that the Service requests. Returns whether others may now have
 * more: it left another address, or took one on request, which only its sharing key opens to them.
 */
function findOthers(draft: AssignmentDraft, allocation: Allocation): boolean {
  const { spec } = draft.service;
  let failure: Verdict | undefined;
  const lacking: string[] = [];
  let hasOpened = false;
  for (const family of spec.ipFamilies) {
    const present = draft.addresses.find((ip) => ip.family === family);
    if (present !== undefined && allocation.poolConflict(draft, present) === undefined) continue;
    const found = allocation.find(draft, family);
    if (found.ok) {
      if (present !== undefined) leaveAddress(draft, present, allocation);
      hasOpened ||= present !== undefined || (spec.sharingKey !== undefined && allocation.isOnRequest(found.ip));
      takeAddresses(draft, [found.ip], allocation);
    } else {
      if (present === undefined) {
        failure ??= found.verdict;
        if (allocation.hasFamily(family, draft.pool)) lacking.push(`no IPv${family} address: ${found.verdict.message}`);
      } else draft.verdict ??= keeping(found.verdict, present);
      draft.waitsForHost ||= found.waitsForHost;
    }
  }
  if (spec.requireDualStack || draft.addresses.length === 0) draft.verdict ??= failure;
  else draft.lacking = lacking;
  return hasOpened;
}

/** Whether the Service has moved to the address. */
function takeRequested(draft: AssignmentDraft, wanted: Ip, allocation: Allocation): boolean {
  const present = draft.addresses.find((ip) => ip.family === wanted.family);
  const conflict = allocation.poolConflict(draft, wanted);
  if (present?.text === wanted.text && conflict === undefined) return false;
  const answer = conflict ?? allocation.mayHave(draft, wanted);
  if (answer !== true) {
    draft.verdict = keeping(answer, present);
    draft.waitsForHost ||= answer.reason === 'PortInUseOnHost';
    return false;
  }
  if (present !== undefined) leaveAddress(draft, present, allocation);
  takeAddresses(draft, [wanted], allocation);
  return true;
}

function keeping({ reason, message }: Verdict, present: Ip | undefined): Verdict {
  return { reason, message: present === undefined ? message : `${message}; the Service keeps ${present.text}` };
}

function ofOtherPool(addresses: readonly string[]): Verdict {
  const message = `furiwake published ${addresses.join(', ')} with other --addresses or another --state-dir: it is not served. Start furiwake with those, request an address, or release all Services with furiwake cleanup --cluster`;
  return { reason: 'AddressNotInPool', message };
}

/** It requires two families, had no address before and got only one, which then stays free for others. */
function isHalf({ service: { spec }, record, addresses }: AssignmentDraft): boolean {
  return spec.requireDualStack && (record?.addresses ?? []).length === 0 && addresses.length < spec.ipFamilies.length;
}

function finish(draft: AssignmentDraft, site: Site, allocation: Allocation): ServiceDecision {
  const { service, refused, disowned } = draft;
  const addresses = draft.addresses.map((ip) => finishAddress(draft, ip, site, allocation));
  const unserved = addresses.flatMap((address) => address.unserved);
  const apart = draft.addresses.flatMap((ip) => allocation.whyApart(draft, ip) ?? []).map(notSharedWords);
  const ignored = draft.ignored.map((name) => `ignored: annotation ${name} (--addresses names no pool)`);
  const verdict = draft.verdict ?? {
    reason: 'Assigned',
    message: [
      ['assigned', draft.addresses.map((ip) => ip.text).join(', ')].join(' '),
      ...draft.lacking,
      ...apart,
      ...ignored,
    ].join('; '),
  };
  const isSettled =
    addresses.length > 0 &&
    verdict.reason === 'Assigned' &&
    disowned.length === 0 &&
    unserved.length === 0 &&
    apart.length === 0 &&
    service.spec.ipFamilies.every(
      (family) => !allocation.hasFamily(family, draft.pool) || draft.addresses.some((ip) => ip.family === family),
    );
  const assignment: Assignment = {
    addresses,
    verdict,
    refused: orNone(refused),
    disowned: orNone(disowned),
    keepsStatus: draft.keepsStatus && addresses.length === 0,
    waitsForHost: !isSettled && (draft.waitsForHost || unserved.some(({ reason }) => reason === 'PortInUseOnHost')),
  };
  // A record of the pool stays until `--addresses` are back.
  const record = (assignment.keepsStatus && draft.record) || recordOf(draft, addresses);
  return { service, assignment, record, isSettled };
}

function notSharedWords(why: string): string {
  return `not shared with the other Services of its sharing key: ${why}`;
}

/** Claims the ports again: another Service may have released one since the first claim. */
function finishAddress(draft: AssignmentDraft, ip: Ip, site: Site, allocation: Allocation): AssignedAddress {
  const isFormer = allocation.isFormerHostAddress(draft, ip);
  // The draft has ports that only `direct` serves, and on the address of a host it does not.
  const refused = isFormer ? decodePorts(draft.service.spec, { handsOutOwn: true }).refused : [];
  const ports = draft.ports.filter((port) => !refused.some((each) => each.port === port));
  const answers = ports.map((port) => ({ port, answer: allocation.claim(draft, ip, port) }));
  return {
    ip,
    isHostAddress: site.handsOutOwn || isFormer,
    served: answers.filter(({ answer }) => answer === true).map(({ port }) => port),
    unserved: orNone([
      ...refused.filter(({ port }) => draft.ports.includes(port)),
      ...answers.flatMap(({ port, answer }) => (answer === true ? [] : [{ port, ...answer }])),
    ]),
  };
}

/** The same record object when nothing in it changed. */
function recordOf(
  { service, record, addresses: ips }: AssignmentDraft,
  addresses: readonly AssignedAddress[],
): AddressRecord {
  const listeners = addresses
    .flatMap(({ ip, served }) => served.map((port) => ({ ip, port })))
    .map(({ ip, port: { port, protocol } }) => listenerKey(ip, port, protocol));
  const hostAddresses = addresses.filter(({ isHostAddress }) => isHostAddress).map(({ ip }) => ip.text);
  return share(record, {
    uid: service.uid,
    service: service.key,
    addresses: ips,
    ...(hostAddresses.length > 0 && { hostAddresses }),
    listeners,
  });
}

const none: readonly never[] = [];

/** The list, or the same object for each empty one: most lists of a Service are empty (docs/adr/0021). */
function orNone<T>(list: readonly T[]): readonly T[] {
  return list.length === 0 ? none : list;
}
