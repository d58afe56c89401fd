import type { AddressRecord } from '../core/addresses/assignment.ts';
import { belongsTo } from '../core/addresses/eligibility.ts';
import { type Ip, parseIp } from '../core/ip/ip.ts';
import { type IpRange, rangeContains } from '../core/ip/range.ts';
import type { ServiceKey, ServiceUid } from '../core/model/names.ts';
import type { Service } from '../core/model/service.ts';
import type { Site } from '../core/model/site.ts';
import type { PersistentMap } from '../core/persistent-map.ts';
import type { LedgerRecords } from '../ports/ledger.ts';

/**
 * The ledger of this host after another host held the Lease: where the statuses contradict a record, the other host decided
 * later, and the record has no address. The plan then takes the one in the status, as after a lost state directory.
 *
 *   record .8, status .8        → .8
 *   record .8, status .9        → none
 *   record .8, status empty     → .8: another client cleared it; none if another Service shows .8
 *   record .8, status 10.0.0.1  → .8: no address of the pool; likewise
 *
 * If .8 is not in the pool either, only a status with .8 shows that the Service still has it: the other host may have another
 * pool, and 10.0.0.1 is of that one.
 */
export function withoutStale(
  records: LedgerRecords,
  services: PersistentMap<ServiceKey, Service>,
  ranges: readonly IpRange[],
): LedgerRecords {
  const isInPool = (ip: Ip): boolean => ranges.some((range) => rangeContains(range, ip));
  const shownBy = new Map<ServiceUid, readonly Ip[]>();
  for (const { uid, status } of services.values()) {
    const shown = status.ingress.flatMap(({ ip: text }) => (text === undefined ? [] : (parseIp(text) ?? [])));
    if (shown.length > 0) shownBy.set(uid, shown);
  }
  const shownByAny = new Set([...shownBy.values()].flat().map(({ text }) => text));
  const isStale = ({ uid, addresses }: AddressRecord): boolean => {
    const recorded = new Set(addresses.map(({ text }) => text));
    const shown = shownBy.get(uid) ?? [];
    if (shown.some((ip) => isInPool(ip) && !recorded.has(ip.text))) return true;
    if (shown.some(({ text }) => recorded.has(text))) return false;
    return addresses.some((ip) => shownByAny.has(ip.text) || (shown.length > 0 && !isInPool(ip)));
  };
  const stale = [...records.values()].filter((record) => record.addresses.length > 0 && isStale(record));
  return stale.length === 0
    ? records
    : records.with(stale.map((record) => [record.uid, { ...record, addresses: [], listeners: [] }]));
}

/**
 * The ledger of a host that served another class before, which another host serves now. A record would claim that the finalizers
 * and the address of a Service are this host's to release (`eligibilityOf`).
 */
export function withoutOtherClasses(
  records: LedgerRecords,
  services: PersistentMap<ServiceKey, Service>,
  site: Site,
): LedgerRecords {
  const others = [...services.values()].filter((service) => records.has(service.uid) && !belongsTo(service, site));
  return others.length === 0 ? records : records.with(others.map(({ uid }) => [uid, undefined]));
}
