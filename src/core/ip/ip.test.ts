import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ipOf, parseIp } from './ip.ts';
import {
  countAddresses,
  formatRange,
  indexOfRange,
  mergeRanges,
  parseRange,
  rangeContains,
  subtractRanges,
} from './range.ts';

describe('an address', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['255.255.255.255', '255.255.255.255'],
    ['2001:DB8::1', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:0db8:0000:0000:0000:0000:0000:0001', '2001:db8::1'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
    ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
  ])('%s is read and shown as %s', (text, shown) => expect(parseIp(text)?.text).toBe(shown));

  test.each([
    '',
    '1.2.3',
    '010.1.1.1',
    '1.2.3.4.5',
    '256.1.1.1',
    '1.2.3.4 ',
    ' 1.2.3.4',
    '1..2.3',
    '0x1.2.3.4',
    ':::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1::2::3',
    'fe80::1%eth0',
    '12345::',
    'g::',
    '::1.2.3',
    '1.2.3.4::',
    '::1.2.3.4:5',
    '1:2:3:4:5:6:7::8',
    '1\n.2.3.4',
  ])('%j is refused', (text) => expect(parseIp(text)).toBeUndefined());

  test('reads what Node reads, and its canonical text means the same address', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.ipV4(), fc.ipV6(), fc.string({ unit: fc.constantFrom(...'0123456789abcf:.'.split('')) })),
        (text) => {
          const ip = parseIp(text);
          expect(ip?.family ?? 0).toBe(isIP(text));
          expect(ip === undefined ? undefined : parseIp(ip.text)).toEqual(ip);
        },
      ),
    );
  });

  test('its integer value and its text are two forms of the same', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), (value) => {
        expect(parseIp(ipOf(6, value).text)?.value).toBe(value);
      }),
    );
    expect(() => ipOf(4, 1n << 32n)).toThrow(RangeError);
  });
});

describe('a range', () => {
  test.each([
    ['192.0.2.7', '192.0.2.7'],
    ['192.0.2.7/30', '192.0.2.4-192.0.2.7'],
    ['192.0.2.9-192.0.2.11', '192.0.2.9-192.0.2.11'],
    ['2001:db8::/126', '2001:db8::-2001:db8::3'],
    ['0.0.0.0/0', '0.0.0.0-255.255.255.255'],
    ['::/0', '::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ])('%s is %s', (text, shown) => expect(formatRange(parseRange(text)!)).toBe(shown));

  test.each([
    '192.0.2.0/33',
    '192.0.2.0/',
    '/24',
    '192.0.2.9-192.0.2.1',
    '192.0.2.1-2001:db8::1',
    '192.0.2.1-',
    'a-b',
    '192.0.2.0/024',
  ])('%j is refused', (text) => expect(parseRange(text)).toBeUndefined());

  const smallRange = fc
    .tuple(fc.bigInt(0n, 60n), fc.bigInt(0n, 12n))
    .map(([first, length]) => ({ family: 4 as const, first, last: first + length }));
  const members = (ranges: readonly { first: bigint; last: bigint }[]): bigint[] => {
    const found: bigint[] = [];
    for (let value = 0n; value < 100n; value++)
      if (ranges.some((range) => range.first <= value && value <= range.last)) found.push(value);
    return found;
  };

  test('merging covers exactly the same addresses, sorted and apart', () => {
    fc.assert(
      fc.property(fc.array(smallRange, { maxLength: 8 }), (ranges) => {
        const merged = mergeRanges(ranges);
        expect(members(merged)).toEqual(members(ranges));
        const gaps = merged.slice(1).map((range, index) => range.first - merged[index]!.last);
        expect(gaps.every((gap) => gap > 1n)).toBe(true);
        expect(countAddresses(merged)).toBe(BigInt(members(ranges).length));
      }),
    );
  });

  test('subtracting leaves exactly the others', () => {
    fc.assert(
      fc.property(fc.array(smallRange, { maxLength: 6 }), fc.array(smallRange, { maxLength: 6 }), (ranges, holes) => {
        const out = new Set(members(holes));
        expect(members(subtractRanges(ranges, holes))).toEqual(members(ranges).filter((value) => !out.has(value)));
      }),
    );
  });

  test('the one that holds an address is found by binary search', () => {
    const anyFamily = fc.constantFrom<readonly (4 | 6)[]>([4], [6], [4, 6]);
    fc.assert(
      fc.property(fc.array(smallRange, { maxLength: 12 }), anyFamily, fc.bigInt(0n, 80n), (ranges, families, value) => {
        const merged = mergeRanges(families.flatMap((family) => ranges.map((range) => ({ ...range, family }))));
        for (const family of [4, 6] as const) {
          const address = ipOf(family, value);
          expect(indexOfRange(merged, address)).toBe(merged.findIndex((range) => rangeContains(range, address)));
        }
      }),
      { numRuns: 500 },
    );
  });

  test('of all IPv6 addresses works', () => {
    const all = parseRange('::/0')!;
    expect(countAddresses([all])).toBe(1n << 128n);
    expect(rangeContains(all, parseIp('2001:db8::1')!)).toBe(true);
  });
});
