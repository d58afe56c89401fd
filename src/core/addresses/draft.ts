import type { Family, Ip } from '../ip/ip.ts';
import { rangeContains } from '../ip/range.ts';
import type { HostFacts } from '../model/host.ts';
import type { ListenerKey, ServiceUid } from '../model/names.ts';
import type { Service } from '../model/service.ts';
import type { Site } from '../model/site.ts';
import type { PersistentMap } from '../persistent-map.ts';
import type { Verdict } from '../reasons.ts';
import { listenerKey } from '../traffic/table.ts';
import type { AddressRecord } from './assignment.ts';
import type { Claims, Holder } from './claims.ts';
import { hostNeeds } from './host-needs.ts';
import type { Pool } from './pool.ts';
import { decidePorts, type PortDecision } from './ports.ts';

/** What a decision depends on, beside the Service itself and what the others have. */
export type Ground = {
  readonly site: Site;
  readonly host: HostFacts;
  readonly pool: Pool;
  readonly records: PersistentMap<ServiceUid, AddressRecord>;
};

/** One Service while the plan is made. */
export type Draft = {
  readonly service: Service;
  readonly holder: Holder;
  readonly ports: PortDecision;
  readonly record: AddressRecord | undefined;
  /** Listeners that it had. */
  readonly recorded: ReadonlySet<ListenerKey>;
  addresses: readonly Ip[];
  verdict: Verdict | undefined;
  disowned: readonly string[];
  /** See {@link Assignment.keepsStatus}. */
  keepsStatus: boolean;
  /** It gave an address back to take the one it asks for. */
  hasMoved: boolean;
  waitsForHost: boolean;
};

export function makeDraft(service: Service, record: AddressRecord | undefined, { pool, site }: Ground): Draft {
  const ports = decidePorts(service.spec);
  const addresses =
    ports.servable.length === 0
      ? []
      : (record?.addresses ?? []).filter(
          // Not one that a node or this host needs by now, and of own addresses only those that the host still has.
          (ip) =>
            service.spec.ipFamilies.includes(ip.family) &&
            !pool.excluded.has(ip.text) &&
            (!site.handsOutOwn || pool.ranges.some((range) => rangeContains(range, ip))),
        );
  const recorded = new Set(record?.listeners);
  return {
    service,
    holder: { service: service.key, namespace: service.namespace, sharingKey: service.spec.sharingKey },
    ports,
    record,
    recorded,
    addresses: inOrder(addresses, service.spec.ipFamilies),
    verdict: undefined,
    disowned: [],
    keepsStatus: false,
    hasMoved: false,
    waitsForHost: false,
  };
}

export function keepRecordedListeners(draft: Draft, claims: Claims, ground: Ground): void {
  if (draft.recorded.size > 0)
    claimPorts(draft, draft.addresses, claims, ground, (listener) => draft.recorded.has(listener));
}

/** Claims the ports that the host does not need itself; what others have stays theirs. */
export function claimPorts(
  draft: Draft,
  addresses: readonly Ip[],
  claims: Claims,
  ground: Ground,
  isWanted: (listener: ListenerKey) => boolean = () => true,
): void {
  for (const ip of addresses) {
    for (const port of draft.ports.servable) {
      const listener = listenerKey(ip, port.port, port.protocol);
      if (isWanted(listener) && hostNeeds(draft, ip, port, ground) === undefined) claims.claim(listener, draft.holder);
    }
  }
}

export function take(draft: Draft, ip: Ip, claims: Claims, ground: Ground): void {
  claimPorts(draft, [ip], claims, ground);
  draft.addresses = inOrder([...draft.addresses, ip], draft.service.spec.ipFamilies);
}

/** In the order of the Service's families: consumers that take the first address get the primary family. */
export function inOrder(addresses: readonly Ip[], families: readonly Family[]): readonly Ip[] {
  return families.flatMap((family) => addresses.filter((ip) => ip.family === family));
}

export function give(draft: Draft, ip: Ip, claims: Claims): void {
  for (const { port, protocol } of draft.ports.servable)
    claims.release(listenerKey(ip, port, protocol), draft.service.key);
  draft.addresses = draft.addresses.filter((other) => other !== ip);
}

export function drop(draft: Draft, claims: Claims): void {
  for (const ip of draft.addresses) give(draft, ip, claims);
}
