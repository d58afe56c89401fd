import type { Ip } from './ip.ts';
import { parseCidr, rangeContains } from './range.ts';

/** Blocks of which no Pod and no node has an address (RFC 6890). Kubernetes refuses most of them for Pods, but not in old objects. */
const specialBlocks: readonly (readonly [block: string, what: string])[] = [
  ['0.0.0.0/8', 'unspecified address'],
  ['127.0.0.0/8', 'loopback address'],
  ['169.254.0.0/16', 'link-local address'],
  ['224.0.0.0/4', 'multicast address'],
  ['255.255.255.255/32', 'broadcast address'],
  ['::/128', 'unspecified address'],
  ['::1/128', 'loopback address'],
  ['::ffff:0:0/96', 'IPv4-mapped address'],
  ['fe80::/10', 'link-local address'],
  ['ff00::/8', 'multicast address'],
];
const specialRanges = specialBlocks.flatMap(([block, what]) => {
  const range = parseCidr(block);
  return range === undefined ? [] : [{ range, what }];
});

/** What the address is, if no Pod and no node can have it: `loopback address`. */
export function specialUse(address: Ip): string | undefined {
  return specialRanges.find(({ range }) => rangeContains(range, address))?.what;
}
