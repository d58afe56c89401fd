import type { Assignment } from '../addresses/assignment.ts';
import { type Family, parseIp } from '../ip/ip.ts';
import { type IpRange, mergeRanges, parseCidr, rangeOf } from '../ip/range.ts';
import type { ServiceKey } from '../model/names.ts';
import { byAge, type Service } from '../model/service.ts';
import { isSameSet, PersistentMap } from '../persistent-map.ts';

/** Limit for one Service, so that it cannot use up the budget that all share. */
export const mostRanges = 10_000;

/**
 * Limit for all Services of a host. Listeners share the ranges of their Service, so they count once, whatever the number of its ports;
 * Services with the same ranges count each, though they share them, too. The kernel's sets of ranges (pipapo) grow faster than their
 * elements: three Services with 10,000 ranges each take 9 s to load and 220 MB, five take 25 s and 600 MB; beyond that nft
 * exceeds its deadline (nft 1.0.6, Linux 6.18, the worst case, IPv6 ranges that are not prefixes). 30,000
 * ranges over 300 listeners take 2 s and 25 MB.
 */
export const mostRangesOfHost = 30_000;

export type SourceRanges = {
  /** Merged. `undefined`: open to all; empty: closed to all. */
  readonly ranges: readonly IpRange[] | undefined;
  /** Entries that are not CIDRs. */
  readonly malformed: readonly string[];
  /** Why the Service is closed to all clients: it has too many ranges. */
  readonly excess: string | undefined;
};

/**
 * Decodes `loadBalancerSourceRanges`. An entry that is not a CIDR matches no client, and a family without an entry is closed,
 * so that a restricted Service is never open by mistake. `isOverBudget`: see {@link makeRangeBudget}.
 */
export function planSourceRanges(
  texts: readonly string[],
  families: readonly Family[],
  isOverBudget: boolean = false,
): SourceRanges {
  const { ranges, malformed } = decode(texts);
  const count = countOf(ranges, families);
  const excess = (limit: string): string =>
    `loadBalancerSourceRanges amount to ${count} range${count === 1 ? '' : 's'}, ${limit}: use fewer, wider ranges`;
  if (count > mostRanges)
    return { ranges: [], malformed, excess: excess(`and a Service may have at most ${mostRanges}`) };
  if (isOverBudget)
    return {
      ranges: [],
      malformed,
      excess: excess(`more than older Services leave of the ${mostRangesOfHost} of this load balancer`),
    };
  return { ranges, malformed, excess: undefined };
}

/** The families of the listeners of a Service. */
export function servedFamilies({ addresses }: Assignment): readonly Family[] {
  return addresses.flatMap(({ ip, served }) => (served.length > 0 ? ip.family : []));
}

/** How many elements the kernel's sets have for ranges: those of the families with a listener, once. */
function countOf(ranges: SourceRanges['ranges'] = [], families: readonly Family[]): number {
  return ranges.filter(({ family }) => families.includes(family)).length;
}

type RangeBudgetInput = {
  readonly services: PersistentMap<ServiceKey, Pick<Service, 'uid' | 'createdAtMs' | 'spec'>>;
  readonly assignments: PersistentMap<ServiceKey, Assignment>;
};

const none: ReadonlySet<ServiceKey> = new Set();

/**
 * Finds the Services whose source ranges exceed {@link mostRangesOfHost}. Older Services have precedence; if one does not
 * fit, younger ones may. Pure, except for a cache: what it remembers of the last call saves work. Returns the same object for the
 * same set.
 */
export function makeRangeBudget(most: number = mostRangesOfHost): (input: RangeBudgetInput) => ReadonlySet<ServiceKey> {
  let services: RangeBudgetInput['services'] = PersistentMap.empty();
  let assignments: RangeBudgetInput['assignments'] = PersistentMap.empty();
  const counts = new Map<ServiceKey, number>();
  let sum = 0;
  let exceeding = none;

  return (input) => {
    const changed = new Set([
      ...PersistentMap.changedKeys(services, input.services),
      ...PersistentMap.changedKeys(assignments, input.assignments),
    ]);
    for (const key of changed) {
      const now = claimOf(input.services.get(key), input.assignments.get(key));
      sum += now - (counts.get(key) ?? 0);
      if (now === 0) counts.delete(key);
      else counts.set(key, now);
    }
    ({ services, assignments } = input);
    if (sum <= most) exceeding = none;
    else if (changed.size > 0) {
      const next = exceedingOf(counts, input.services, most);
      if (!isSameSet(next, exceeding)) exceeding = next;
    }
    return exceeding;
  };
}

/** How many elements the kernel's sets would have for the Service. */
function claimOf(service: Pick<Service, 'spec'> | undefined, assignment: Assignment | undefined): number {
  if (service === undefined || assignment === undefined) return 0;
  const families = servedFamilies(assignment);
  return countOf(planSourceRanges(service.spec.sourceRanges, families).ranges, families);
}

function exceedingOf(
  counts: ReadonlyMap<ServiceKey, number>,
  services: RangeBudgetInput['services'],
  most: number,
): ReadonlySet<ServiceKey> {
  const exceeding = new Set<ServiceKey>();
  let left = most;
  for (const [key, count] of byAge(counts, services)) {
    if (count > left) exceeding.add(key);
    else left -= count;
  }
  return exceeding;
}

type DecodedRanges = Pick<SourceRanges, 'ranges' | 'malformed'>;

const decoded = new WeakMap<readonly string[], DecodedRanges>();

/** Decodes each list once: a spec that did not change keeps its list objects. */
function decode(texts: readonly string[]): DecodedRanges {
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

/** Those of the families that are closed to all clients: there are ranges, and none is of this family. */
export function closedFamilies(texts: readonly string[], families: readonly Family[]): readonly Family[] {
  const { ranges } = decode(texts);
  if (ranges === undefined) return [];
  return families.filter((family) => !ranges.some((range) => range.family === family));
}
