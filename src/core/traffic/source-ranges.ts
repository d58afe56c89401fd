import type { Assignment } from '../addresses/assignment.ts';
import { type Family, parseIp } from '../ip/ip.ts';
import { type IpRange, mergeRanges, parseCidr, rangeOf } from '../ip/range.ts';

/** So many ranges, over all listeners of a Service, are checked by the kernel; one cannot use up what all share. */
export const mostRanges = 10_000;

export type SourceRanges = {
  /** Merged; `undefined` is open to all, an empty list is closed to all. */
  readonly ranges: readonly IpRange[] | undefined;
  /** Entries that are no CIDR. */
  readonly malformed: readonly string[];
  /** How many there would be over all listeners, where that is more than {@link mostRanges}: then the Service is closed to all clients. */
  readonly excess: number | undefined;
};

/**
 * Reads `loadBalancerSourceRanges`. An entry that is not a CIDR matches no client, and a family without an entry is closed: a
 * Service that is restricted is never open by mistake.
 */
export function planSourceRanges(texts: readonly string[], listeners: number): SourceRanges {
  const { ranges, malformed } = decode(texts);
  const count = (ranges?.length ?? 0) * listeners;
  return count > mostRanges ? { ranges: [], malformed, excess: count } : { ranges, malformed, excess: undefined };
}

export function listenersOf({ addresses }: Assignment): number {
  return addresses.reduce((sum, { served }) => sum + served.length, 0);
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
