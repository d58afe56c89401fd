import type { Assignment } from '../addresses/assignment.ts';
import { type Family, parseIp } from '../ip/ip.ts';
import { type IpRange, mergeRanges, parseCidr, rangeOf } from '../ip/range.ts';
import type { ServiceKey } from '../model/names.ts';
import type { Service } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';

/** Ranges of one Service over all its listeners: one Service cannot use up what all share. */
export const mostRanges = 10_000;

/**
 * Ranges of all Services of a host over all their listeners. The kernel's sets of ranges (pipapo) grow faster than their
 * elements: three Services with 10,000 ranges each take 9 s to load and 220 MB, five take 25 s and 600 MB; beyond that nft
 * does not end within its deadline (nft 1.0.6, Linux 6.18, IPv6 ranges that are no prefixes, the worst case). 30,000
 * ranges over 300 listeners take 2 s and 25 MB.
 */
export const mostRangesOfHost = 30_000;

export type SourceRanges = {
  /** Merged; `undefined` is open to all, an empty list is closed to all. */
  readonly ranges: readonly IpRange[] | undefined;
  /** Entries that are not CIDRs. */
  readonly malformed: readonly string[];
  /** Why the Service is closed to all clients though it has ranges: there are more than the kernel is given. */
  readonly excess: string | undefined;
};

/**
 * Reads `loadBalancerSourceRanges`. An entry that is not a CIDR matches no client, and a family without an entry is
 * closed: a Service that is restricted is never open by mistake. `isOverBudget`: see {@link makeRangeBudget}.
 */
export function planSourceRanges(
  texts: readonly string[],
  listeners: number,
  isOverBudget: boolean = false,
): SourceRanges {
  const { ranges, malformed } = decode(texts);
  const count = (ranges?.length ?? 0) * listeners;
  const made = `loadBalancerSourceRanges make ${count} range${count === 1 ? '' : 's'} over all ports and families`;
  if (count > mostRanges) return { ranges: [], malformed, excess: `${made}, of at most ${mostRanges}` };
  if (isOverBudget)
    return {
      ranges: [],
      malformed,
      excess: `${made}, and older Services leave fewer of the ${mostRangesOfHost} of this load balancer`,
    };
  return { ranges, malformed, excess: undefined };
}

export function listenersOf({ addresses }: Assignment): number {
  return addresses.reduce((sum, { served }) => sum + served.length, 0);
}

type Claims = {
  readonly services: PersistentMap<ServiceKey, Pick<Service, 'uid' | 'createdAtMs' | 'spec'>>;
  readonly assignments: PersistentMap<ServiceKey, Assignment>;
};

const none: ReadonlySet<ServiceKey> = new Set();

/**
 * The Services whose source ranges exceed {@link mostRangesOfHost}: the older Service goes first, and one that does not
 * fit leaves its room to younger ones. As good as pure: what it remembers of the last call saves work. The same set, the
 * same object.
 */
export function makeRangeBudget(most: number = mostRangesOfHost): (claims: Claims) => ReadonlySet<ServiceKey> {
  let services: Claims['services'] = PersistentMap.empty();
  let assignments: Claims['assignments'] = PersistentMap.empty();
  const counts = new Map<ServiceKey, number>();
  let sum = 0;
  let exceeding = none;

  return (claims) => {
    const changed = new Set([
      ...PersistentMap.changedKeys(services, claims.services),
      ...PersistentMap.changedKeys(assignments, claims.assignments),
    ]);
    for (const key of changed) {
      const now = claimOf(claims.services.get(key), claims.assignments.get(key));
      sum += now - (counts.get(key) ?? 0);
      if (now === 0) counts.delete(key);
      else counts.set(key, now);
    }
    ({ services, assignments } = claims);
    if (sum <= most) exceeding = none;
    else if (changed.size > 0) {
      const next = exceedingOf(counts, claims.services, most);
      if (next.size !== exceeding.size || [...next].some((key) => !exceeding.has(key))) exceeding = next;
    }
    return exceeding;
  };
}

/** The elements that the kernel would hold for the Service. */
function claimOf(service: Pick<Service, 'spec'> | undefined, assignment: Assignment | undefined): number {
  if (service === undefined || assignment === undefined) return 0;
  const listeners = listenersOf(assignment);
  return (planSourceRanges(service.spec.sourceRanges, listeners).ranges?.length ?? 0) * listeners;
}

function exceedingOf(
  counts: ReadonlyMap<ServiceKey, number>,
  services: Claims['services'],
  most: number,
): ReadonlySet<ServiceKey> {
  const byAge = [...counts].flatMap(([key, count]) => {
    const service = services.get(key);
    return service === undefined ? [] : [{ key, count, service }];
  });
  byAge.sort((a, b) => a.service.createdAtMs - b.service.createdAtMs || (a.service.uid < b.service.uid ? -1 : 1));
  const exceeding = new Set<ServiceKey>();
  let left = most;
  for (const { key, count } of byAge) {
    if (count > left) exceeding.add(key);
    else left -= count;
  }
  return exceeding;
}

type Decoded = Pick<SourceRanges, 'ranges' | 'malformed'>;

const decoded = new WeakMap<readonly string[], Decoded>();

/** Once for each list: a spec that did not change keeps its lists. */
function decode(texts: readonly string[]): Decoded {
  if (texts.length === 0) return { ranges: undefined, malformed: [] };
  let known = decoded.get(texts);
  if (known === undefined) {
    const ranges: IpRange[] = [];
    const malformed: string[] = [];
    for (const text of texts) {
      const ip = parseIp(text.trim());
      const range = ip === undefined ? parseCidr(text.trim()) : rangeOf(ip);
      if (range === undefined) malformed.push(text);
      else ranges.push(range);
    }
    known = { ranges: mergeRanges(ranges), malformed };
    decoded.set(texts, known);
  }
  return known;
}

/** Of these families those that no range is of, where there are ranges at all: they are closed to every client. */
export function closedFamilies(texts: readonly string[], families: readonly Family[]): readonly Family[] {
  const { ranges } = decode(texts);
  if (ranges === undefined) return [];
  return families.filter((family) => !ranges.some((range) => range.family === family));
}
