import { expect, test } from 'vitest';
import { decodeListing } from './listing.ts';
import { steeringTable } from './ruleset.ts';

const listing = (...objects: readonly object[]): string =>
  JSON.stringify({ nftables: [{ metainfo: { version: '1.0.6' } }, ...objects] });
const set = (name: string, ...elem: readonly unknown[]): object => ({ set: { name, handle: 3, elem } });

test.each([
  ['a listener', 'listeners4', [{ concat: ['192.0.2.1', 80] }, 10_000], '192.0.2.1 . 80 : 10000'],
  ['a listener of IPv6', 'listeners6', [{ concat: ['2001:db8::1', 80] }, 10_000], '2001:db8::1 . 80 : 10000'],
  [
    'the number of the source ranges of a listener',
    'ranges4',
    [{ concat: ['192.0.2.1', 80] }, '0:1'],
    '192.0.2.1 . 80 : 0:1',
  ],
  ['an address', 'vips4', '192.0.2.1', '192.0.2.1'],
  ['an IPv4-compatible address, which nft writes dotted', 'vips6', '::192.0.2.1', '::c000:201'],
  ['a single allowed address', 'sources4', { concat: ['0:1', '10.0.0.1'] }, '0:1 . 10.0.0.1'],
  [
    'a range that nft lists as a prefix',
    'sources4',
    { concat: ['0:1', { prefix: { addr: '10.0.0.0', len: 8 } }] },
    '0:1 . 10.0.0.0-10.255.255.255',
  ],
  ['one that counts', 'refused4', { elem: { val: { concat: ['192.0.2.1', 80] }, counter: null } }, '192.0.2.1 . 80'],
  ['a range', 'sources6', { concat: ['0:1', { range: ['::1', '::5'] }] }, '0:1 . ::1-::5'],
])('reads %s as it is written', (_, name, element, text) => {
  expect([...decodeListing(listing(set(name, element)), steeringTable).elements]).toEqual([`${name} ${text}`]);
});

test('an element in a form that furiwake never writes is also an element', () => {
  expect(decodeListing(listing(set('vips4', { range: ['9.9.9.9', 'nonsense'] })), steeringTable).elements.size).toBe(1);
});

test('another table in the answer is skipped', () => {
  const objects = ['furiwake', 'other'].flatMap((table) => [
    { table: { family: 'inet', name: table } },
    { set: { name: 'vips4', table, elem: [table === 'other' ? '192.0.2.9' : '192.0.2.1'] } },
  ]);
  const { skeleton, elements } = decodeListing(listing(...objects), steeringTable);
  expect(skeleton).not.toContain('other');
  expect([...elements]).toEqual(['vips4 192.0.2.1']);
});

test('the skeleton is the same with other elements, and another with another rule or handle', () => {
  const skeletonOf = (...objects: readonly object[]): string =>
    decodeListing(listing(...objects), steeringTable).skeleton;
  const rule = { rule: { chain: 'classify', handle: 7, expr: [] } };
  expect(skeletonOf(set('vips4', '192.0.2.1'), rule)).toBe(skeletonOf(set('vips4', '192.0.2.2', '192.0.2.3'), rule));
  expect(skeletonOf(set('vips4'), rule)).not.toBe(skeletonOf(set('vips4')));
  expect(skeletonOf(rule)).not.toBe(skeletonOf({ rule: { ...rule.rule, handle: 8 } }));
});
