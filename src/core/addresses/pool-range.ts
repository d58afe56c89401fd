import { bitsOf, parseDecimal, parseIp } from '../ip/ip.ts';
import { formatRange, type IpRange, parseCidr, parseRange, rangesOverlap } from '../ip/range.ts';
import { quote } from './request.ts';

/** A part of an address pool as an administrator wrote it, or what is wrong with it and what to write instead. */
export type PoolRange =
  | { readonly ok: true; readonly range: IpRange }
  | { readonly ok: false; readonly problem: string };

/** Addresses that no Service can have, with their names in the IANA special-purpose registries (RFC 6890). */
const reserved: readonly (readonly [cidr: string, what: string])[] = [
  ['0.0.0.0/8', '"this network" addresses'],
  ['127.0.0.0/8', 'loopback addresses'],
  ['169.254.0.0/16', 'link-local addresses'],
  ['224.0.0.0/4', 'multicast addresses'],
  ['240.0.0.0/4', 'reserved and broadcast addresses'],
  ['::/128', 'the unspecified address'],
  ['::1/128', 'the loopback address'],
  ['::ffff:0:0/96', 'IPv4-mapped addresses'],
  ['fe80::/10', 'link-local addresses'],
  ['ff00::/8', 'multicast addresses'],
];

/**
 * Reads an address, a CIDR without host bits, or `first-last`. A CIDR of IPv6 is read without its first address, the
 * Subnet-Router anycast address (RFC 4291 section 2.6.1), unless it has one or two addresses (RFC 6164).
 */
export function parsePoolRange(text: string): PoolRange {
  const range = parseRange(text);
  if (range === undefined) return refuse(misreading(text));
  const spelling = hostBitsProblem(text, range);
  if (spelling !== undefined) return refuse(spelling);
  const forbidden = reserved.find(([cidr]) => {
    const block = parseCidr(cidr);
    return block !== undefined && rangesOverlap(block, range);
  });
  if (forbidden === undefined) return { ok: true, range: withoutAnycast(text, range) };
  const [cidr, what] = forbidden;
  return refuse(`${text}: no Service can have ${what} (${cidr})`);
}

function withoutAnycast(text: string, range: IpRange): IpRange {
  const { family, first, last } = range;
  const isSubnet = family === 6 && text.includes('/') && last - first > 1n;
  return isSubnet ? { ...range, first: first + 1n } : range;
}

function refuse(problem: string): PoolRange {
  return { ok: false, problem };
}

/** `192.0.2.200/28` may mean the block, or the addresses from .200 to its end. */
function hostBitsProblem(text: string, { family, last }: IpRange): string | undefined {
  const [addressText = '', prefix] = text.split('/');
  const address = parseIp(addressText);
  const block = parseCidr(text);
  if (prefix === undefined || address === undefined || block === undefined || block.first === address.value)
    return undefined;
  const rest = formatRange({ family, first: address.value, last });
  const whole = `${formatRange({ family, first: block.first, last: block.first })}/${prefix}`;
  return `${text} has host bits set; write ${whole} for the whole block, or ${rest}`;
}

function misreading(text: string): string {
  const [firstText = '', lastText, excess] = text.split('-');
  const [first, last] = [parseIp(firstText), parseIp(lastText ?? '')];
  if (first !== undefined && last !== undefined && excess === undefined) {
    if (first.family !== last.family) return `${text} mixes IPv4 and IPv6`;
    return `${text}: the first address is above the last one; write ${last.text}-${first.text}`;
  }
  const ending = parseDecimal(lastText ?? '', 3);
  if (first?.family === 4 && ending !== undefined)
    return `${text}: write the whole last address, ${first.text}-${first.text.replace(/\d+$/, String(ending))}`;
  const slash = text.indexOf('/');
  const address = slash < 0 ? undefined : parseIp(text.slice(0, slash));
  if (address !== undefined)
    return `${quote(text)}: the prefix length must be a number from 1 to ${bitsOf(address.family)}`;
  return `${quote(text)} is not an address, CIDR or range; write for example 192.0.2.10-192.0.2.20,203.0.113.0/24,2001:db8::/120`;
}
