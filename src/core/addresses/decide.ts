import { exact } from '../exact.ts';
import { fieldManager } from '../model/contract.ts';
import { type Ip, parseIp } from '../ip/ip.ts';
import type { Service, ServicePort } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import { listenerKey } from '../traffic/table.ts';
import type { AddressRecord, AssignedAddress, Assignment } from './assignment.ts';
import type { Claims } from './claims.ts';
import {
  claimPorts,
  type Draft,
  drop,
  give,
  type Ground,
  inOrder,
  keepRecordedListeners,
  makeDraft,
  take,
} from './draft.ts';
import { hostNeeds } from './host-needs.ts';
import { decodeRequest } from './request.ts';
import { conflict, type Failures, findOnce, obstacle } from './search.ts';

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
export function decideServices(services: readonly Service[], ground: Ground, claims: Claims): readonly Decision[] {
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

/**
 * A Service that shows an address but is not recorded: the state directory was lost, or another client wrote it. Any client
 * with access to `services/status` can do that, so only an address of the pool is taken over.
 */
function adoptStatus(draft: Draft, claims: Claims, ground: Ground): void {
  const { service } = draft;
  if (draft.ports.servable.length === 0) return;
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
    if (!claims.inPool(ip)) disowned.push(ip.text);
    else if (obstacle(draft, ip, claims, ground) === undefined) adopted.push(ip);
  }
  const isEnough = !service.spec.requireDualStack || adopted.length === service.spec.ipFamilies.length;
  draft.addresses = isEnough ? inOrder(adopted, service.spec.ipFamilies) : [];
  draft.disowned = disowned;
  draft.keepsStatus = adopted.length === 0 && isOfOtherPool(draft, disowned, ground);
  claimPorts(draft, draft.addresses, claims, ground);
}

/** furiwake published these addresses, with another pool and another state directory. */
function isOfOtherPool({ service, record }: Draft, disowned: readonly string[], { pool, site }: Ground): boolean {
  if (site.movesServices || service.status.ingressManager !== fieldManager) return false;
  if ((record?.addresses ?? []).length > 0) return false; // an address that it had and may not keep
  return disowned.length > 0 && !disowned.some((text) => pool.excluded.has(text));
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
  if (draft.keepsStatus && request.addresses.length === 0) {
    draft.verdict = ofOtherPool(draft.disowned);
    return;
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
    claims.inPool(wanted) || ground.pool.excluded.has(wanted.text)
      ? obstacle(draft, wanted, claims, ground)
      : notInPool(wanted, ground);
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

function ofOtherPool(addresses: readonly string[]): Verdict {
  const message = `furiwake published ${addresses.join(', ')} with other --addresses or another --state-dir: it is not served. Start furiwake with those, request an address, or release all Services with furiwake cleanup --cluster`;
  return { reason: 'AddressNotInPool', message };
}

function notInPool(ip: Ip, { site }: Ground): Verdict {
  const message = site.handsOutOwn
    ? `requested address ${ip.text} is not the load-balancer host's own address, the only one that is handed out`
    : `requested address ${ip.text} is outside the address pool`;
  return { reason: 'AddressNotInPool', message };
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
      else taken.push({ port, ...conflict(draft, ip, port.port, holder) });
    }
    return { ip, served: exact(served), taken };
  });
  const texts = draft.addresses.map((ip) => ip.text).join(', ');
  const verdict = draft.verdict ?? { reason: 'Assigned', message: `assigned ${texts}` };
  return {
    addresses,
    verdict,
    refused: draft.ports.refused,
    disowned: draft.disowned,
    keepsStatus: draft.keepsStatus && draft.addresses.length === 0,
    isHostAddress: ground.site.handsOutOwn,
  };
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
