import type { AddressRecord } from '../core/addresses/assignment.ts';
import { parseIp } from '../core/ip/ip.ts';
import { type IpRange, rangeContains } from '../core/ip/range.ts';
import type { ServiceKey, ServiceUid } from '../core/model/names.ts';
import type { Service } from '../core/model/service.ts';
import type { PersistentMap } from '../core/persistent-map.ts';
import type { LedgerRecords } from '../ports/ledger.ts';

/**
 * The ledger of this host after another host held the Lease: where a status shows another address of the pool than the
 * record, the other host decided later, and the record has no address. The plan then takes the one in the status, as
 * after a lost state directory.
 *
 *   record .8, status .8        → .8
 *   record .8, status .9        → none
 *   record .8, status empty     → .8: another client cleared it
 *   record .8, status 10.0.0.1  → .8: no address of the pool
 */
export function withoutStale(
  records: LedgerRecords,
  services: PersistentMap<ServiceKey, Service>,
  ranges: readonly IpRange[],
): LedgerRecords {
  const stale: [ServiceUid, AddressRecord][] = [];
  for (const { uid, status } of services.values()) {
    const record = records.get(uid);
    if (record === undefined) continue;
    const isStale = status.ingress.some(({ ip: text }) => {
      const ip = text === undefined ? undefined : parseIp(text);
      if (ip === undefined || record.addresses.some((recorded) => recorded.text === ip.text)) return false;
      return ranges.some((range) => rangeContains(range, ip));
    });
    if (isStale) stale.push([uid, { ...record, addresses: [], listeners: [] }]);
  }
  return stale.length === 0 ? records : records.with(stale);
}
