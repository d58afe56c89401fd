import { expect, test } from 'vitest';
import { formatRange } from '../ip/range.ts';
import { parsePoolRange } from './pool-range.ts';

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['192.0.2.192/28', '192.0.2.192-192.0.2.207'],
  ['192.0.2.10-192.0.2.20', '192.0.2.10-192.0.2.20'],
  ['2001:db8::/126', '2001:db8::1-2001:db8::3'],
  ['2001:db8::/64', '2001:db8::1-2001:db8::ffff:ffff:ffff:ffff'],
  ['2001:db8::/127', '2001:db8::-2001:db8::1'],
  ['2001:db8::1/128', '2001:db8::1'],
  ['2001:db8::-2001:db8::3', '2001:db8::-2001:db8::3'],
  ['2001:db8::', '2001:db8::'],
])('%s is a part of a pool', (text, expected) => {
  const found = parsePoolRange(text);
  expect(found.ok && formatRange(found.range)).toBe(expected);
});

test.each([
  ['192.0.2.200/28', 'write 192.0.2.192/28 for the whole block, or 192.0.2.200-192.0.2.207'],
  ['2001:db8::5/64', 'write 2001:db8::/64 for the whole block, or 2001:db8::5-2001:db8::ffff:ffff:ffff:ffff'],
  ['192.0.2.9-192.0.2.1', 'write 192.0.2.1-192.0.2.9'],
  ['192.0.2.200-220', 'write the whole last address, 192.0.2.200-192.0.2.220'],
  ['192.0.2.1-2001:db8::1', 'mixes IPv4 and IPv6'],
  ['192.0.2.0/33', 'from 1 to 32'],
  ['nonsense', 'is not an address, CIDR or range'],
  ['0.0.0.0/0', 'no Service can have "this network" addresses (0.0.0.0/8)'],
  ['127.0.0.1', '127.0.0.1: no Service can have loopback addresses (127.0.0.0/8)'],
  ['::/0', 'no Service can have'],
  ['127.0.0.1', 'loopback'],
  ['126.0.0.0-128.0.0.0', 'loopback'],
  ['224.0.0.0/30', 'multicast'],
  ['255.255.255.255', 'broadcast'],
  ['0.0.0.0', 'this network'],
  ['169.254.1.1', 'link-local'],
  ['fe80::1', 'link-local'],
  ['ff02::1', 'multicast'],
  ['::', 'unspecified'],
  ['::1', 'loopback'],
  ['::ffff:192.0.2.200', 'IPv4-mapped'],
])('%s is refused: %s', (text, problem) => {
  const found = parsePoolRange(text);
  expect(found).toEqual({ ok: false, problem: expect.stringContaining(problem) });
});
