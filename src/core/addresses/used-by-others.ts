import { parseIp } from '../ip/ip.ts';
import { rangeContains } from '../ip/range.ts';
import type { ServiceKey, ServiceUid } from '../model/names.ts';
import type { Service } from '../model/service.ts';
import type { Site } from '../model/site.ts';
import { isSameMap, type PersistentMap } from '../persistent-map.ts';
import type { AddressRecord } from './assignment.ts';

export type UsersOfAddresses = {
  /** Services of other implementations with an address in their status. */
  readonly others: PersistentMap<ServiceKey, Service>;
  readonly ours: PersistentMap<ServiceKey, Service>;
  readonly records: PersistentMap<ServiceUid, AddressRecord>;
};

/**
 * The addresses of the pool that the status of Services of another implementation shows, with what they are: two hosts would answer
 * for them. Not those that a Service of ours has by now: it keeps its address. With the host's own address as the pool there are
 * none: another implementation on the host may use other ports of it.
 *
 * The same object while its content is the same.
 */
export function makeUsedByOthers(site: Site): (users: UsersOfAddresses) => ReadonlyMap<string, string> {
  let last: { readonly users: UsersOfAddresses; readonly used: ReadonlyMap<string, string> } | undefined;
  return (users) => {
    const { others, ours, records } = users;
    if (last?.users.others === others && last.users.ours === ours && last.users.records === records) return last.used;
    const found = site.handsOutOwn ? new Map<string, string>() : usedBy(users, site);
    const used = last !== undefined && isSameMap(last.used, found) ? last.used : found;
    last = { users, used };
    return used;
  };
}

function usedBy({ others, ours, records }: UsersOfAddresses, site: Site): Map<string, string> {
  const used = new Map<string, string>();
  for (const service of others.values())
    for (const text of addressesIn(service)) {
      const ip = parseIp(text);
      if (ip !== undefined && site.ranges.some((range) => rangeContains(range, ip)))
        used.set(ip.text, 'address of a Service of another load balancer');
    }
  if (used.size === 0) return used;
  for (const { addresses } of records.values()) for (const { text } of addresses) used.delete(text);
  for (const service of ours.values())
    for (const text of addressesIn(service)) used.delete(parseIp(text)?.text ?? text);
  return used;
}

function addressesIn({ status }: Service): readonly string[] {
  return status.ingress.flatMap(({ ip }) => ip ?? []);
}
