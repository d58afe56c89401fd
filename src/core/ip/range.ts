import { bitsOf, type Family, type Ip, ipOf, parseDecimal, parseIp } from './ip.ts';

/** The addresses from `first` to `last`, both included, of one family. */
export type IpRange = { readonly family: Family; readonly first: bigint; readonly last: bigint };

/**
 * Parses a CIDR to the whole block. Host bits may be set: `10.0.0.7/24` is 10.0.0.0/24, as kube-proxy reads old objects.
 * A malformed one is `undefined`.
 */
export function parseCidr(text: string): IpRange | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const ip = parseIp(text.slice(0, slash));
  const prefix = parseDecimal(text.slice(slash + 1), 3);
  if (ip === undefined || prefix === undefined || prefix > bitsOf(ip.family)) return undefined;
  const hostBits = BigInt(bitsOf(ip.family) - prefix);
  const first = (ip.value >> hostBits) << hostBits;
  return { family: ip.family, first, last: first + (1n << hostBits) - 1n };
}

/** Parses a single address, a CIDR, or `first-last` (one family, in order); anything else is `undefined`. */
export function parseRange(text: string): IpRange | undefined {
  if (text.includes('/')) return parseCidr(text);
  const dash = text.indexOf('-');
  const first = parseIp(dash < 0 ? text : text.slice(0, dash));
  const last = dash < 0 ? first : parseIp(text.slice(dash + 1));
  if (first === undefined || last === undefined || first.family !== last.family || first.value > last.value)
    return undefined;
  return { family: first.family, first: first.value, last: last.value };
}

/** The range that holds only this address. */
export function rangeOf(ip: Ip): IpRange {
  return { family: ip.family, first: ip.value, last: ip.value };
}

export function rangeContains(range: IpRange, ip: Ip): boolean {
  return range.family === ip.family && range.first <= ip.value && ip.value <= range.last;
}

/** Index of the (merged) range that holds the address, or -1. Binary search. */
export function indexOfRange(ranges: readonly IpRange[], { family, value }: Ip): number {
  let low = 0;
  let high = ranges.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const range = ranges[middle] as IpRange;
    if (range.family < family || (range.family === family && range.last < value)) low = middle + 1;
    else if (range.family > family || range.first > value) high = middle - 1;
    else return middle;
  }
  return -1;
}

export function rangesOverlap(a: IpRange, b: IpRange): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

/** `first-last`, or the one address. */
export function formatRange(range: IpRange): string {
  const first = ipOf(range.family, range.first).text;
  return range.first === range.last ? first : `${first}-${ipOf(range.family, range.last).text}`;
}

/** IPv4 first, then by the first address. */
export function compareRanges(a: IpRange, b: IpRange): number {
  return a.family - b.family || (a.first < b.first ? -1 : a.first > b.first ? 1 : 0);
}

/** Sorted, without overlaps, adjacent ranges joined; covers exactly the same addresses. */
export function mergeRanges(ranges: readonly IpRange[]): readonly IpRange[] {
  const sorted = [...ranges].sort(compareRanges);
  const merged: IpRange[] = [];
  for (const range of sorted) {
    const before = merged.at(-1);
    if (before !== undefined && before.family === range.family && range.first <= before.last + 1n) {
      if (range.last > before.last) merged[merged.length - 1] = { ...before, last: range.last };
    } else merged.push(range);
  }
  return merged;
}

/** `ranges` without the addresses of `holes`; sorted and merged. */
export function subtractRanges(ranges: readonly IpRange[], holes: readonly IpRange[]): readonly IpRange[] {
  let rest = mergeRanges(ranges);
  for (const hole of holes) {
    rest = rest.flatMap((range) => {
      if (!rangesOverlap(range, hole)) return [range];
      const left = range.first < hole.first ? [{ ...range, last: hole.first - 1n }] : [];
      const right = range.last > hole.last ? [{ ...range, first: hole.last + 1n }] : [];
      return [...left, ...right];
    });
  }
  return rest;
}

/** How many addresses the (merged) ranges hold. */
export function countAddresses(ranges: readonly IpRange[]): bigint {
  return ranges.reduce((sum, range) => sum + range.last - range.first + 1n, 0n);
}

/** Of each family of the (merged) ranges, how many addresses are `used`, and how many are not. `used`: each once, and in the ranges. */
export function countLeft(ranges: readonly IpRange[], used: Iterable<Ip>): readonly FamilyCount[] {
  const usedOf = new Map<Family, number>();
  for (const { family } of used) usedOf.set(family, (usedOf.get(family) ?? 0) + 1);
  return ([4, 6] as const).flatMap((family) => {
    const those = ranges.filter((range) => range.family === family);
    const count = usedOf.get(family) ?? 0;
    return those.length === 0 ? [] : [{ family, used: count, count: countAddresses(those) - BigInt(count) }];
  });
}

export type FamilyCount = { readonly family: Family; readonly used: number; readonly count: bigint };

/** `3 left`; with two families `none of IPv4 and 3 of IPv6 left`, since no Service can have one of another family. */
export function leftWords(left: readonly { readonly family: Family; readonly count: bigint | string }[]): string {
  const words = left.map(({ family, count }) => {
    const many = BigInt(count) === 0n ? 'none' : String(count);
    return left.length === 1 ? many : `${many} of IPv${family}`;
  });
  return `${words.join(' and ') || 'none'} left`;
}
