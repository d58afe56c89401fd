import type { Family, Ip } from '../ip/ip.ts';
import type { ListenerKey } from '../model/names.ts';
import type { Service } from '../model/service.ts';
import type { Site } from '../model/site.ts';
import type { Verdict } from '../reasons.ts';
import { listenerKey } from '../traffic/table.ts';
import type { Allocation, Claimant } from './allocation.ts';
import type { AddressRecord, PortRefusal } from './assignment.ts';
import { type AddressRequest, decodeAddressRequest, decodePool, decodePorts } from './request.ts';

/** A Service, and what has been decided about it so far. */
export type AssignmentDraft = Claimant & {
  readonly service: Service;
  readonly request: AddressRequest;
  /** Annotations that request a pool where no pool has a name. */
  readonly ignored: readonly string[];
  readonly refused: readonly PortRefusal[];
  /** First all listeners of the record, then those that no other Service took: only they have precedence over the host. */
  recorded: ReadonlySet<ListenerKey>;
  addresses: readonly Ip[];
  /** Why it has no address, or not the one that it requests. */
  verdict: Verdict | undefined;
  /** Why a Service that prefers two families has an address of one, although the pool has both. */
  lacking: readonly string[];
  disowned: readonly string[];
  keepsStatus: boolean;
  waitsForHost: boolean;
};

/** A draft with the recorded addresses that the Service may keep. */
export function makeDraft(
  service: Service,
  record: AddressRecord | undefined,
  site: Site,
  allocation: Allocation,
): AssignmentDraft {
  const { key, namespace, spec } = service;
  const { servable, refused } = decodePorts(spec, site);
  const pool = decodePool(spec.poolAnnotations, site.ranges);
  const claimant: Claimant = {
    holder: { service: key, namespace, sharingKey: spec.sharingKey },
    pool: pool.ok ? pool.pool : undefined,
    ports: servable,
    record,
    recorded: new Set(record?.listeners),
  };
  const kept = (servable.length === 0 ? [] : (record?.addresses ?? [])).filter(
    (ip) => allocation.mayHave(claimant, ip, []) === true,
  );
  return {
    ...claimant,
    service,
    request: pool.ok ? decodeAddressRequest(spec) : pool,
    ignored: pool.ok ? pool.ignored : [],
    refused,
    addresses: inOrder(kept, spec.ipFamilies),
    verdict: undefined,
    lacking: [],
    disowned: [],
    keepsStatus: false,
    waitsForHost: false,
  };
}

/** In the order of the Service's families, so that the first address is of the primary one; without other families. */
function inOrder(addresses: readonly Ip[], families: readonly Family[]): readonly Ip[] {
  const wanted = addresses.filter(({ family }) => families.includes(family));
  return wanted.toSorted((a, b) => families.indexOf(a.family) - families.indexOf(b.family));
}

/** Claims the listeners of the record. */
export function claimRecorded(draft: AssignmentDraft, allocation: Allocation): void {
  const claimed = new Set<ListenerKey>();
  for (const ip of draft.addresses) {
    for (const port of draft.ports) {
      const listener = listenerKey(ip, port.port, port.protocol);
      if (draft.recorded.has(listener) && allocation.claim(draft, ip, port) === true) claimed.add(listener);
    }
  }
  draft.recorded = claimed;
}

/** Claims each port of the addresses that the Service may have. */
export function claimPorts(draft: AssignmentDraft, addresses: readonly Ip[], allocation: Allocation): void {
  for (const ip of addresses) for (const port of draft.ports) allocation.claim(draft, ip, port);
}

/** Adds the addresses to the Service, and claims its ports there. */
export function takeAddresses(draft: AssignmentDraft, addresses: readonly Ip[], allocation: Allocation): void {
  draft.addresses = inOrder([...draft.addresses, ...addresses], draft.service.spec.ipFamilies);
  claimPorts(draft, addresses, allocation);
}

/** Takes the address from the Service, and releases its ports there. */
export function leaveAddress(draft: AssignmentDraft, ip: Ip, allocation: Allocation): void {
  for (const { port, protocol } of draft.ports) allocation.release(listenerKey(ip, port, protocol), draft.service.key);
  draft.addresses = draft.addresses.filter((other) => other !== ip);
}
