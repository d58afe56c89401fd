import { expect, test } from 'vitest';
import { ip, makeHostFacts, makeSite, poolOf } from '../../../test/make/service.ts';
import { UsedAddresses } from './used-addresses.ts';

const pool = poolOf(makeSite(['192.0.2.1-192.0.2.4', '2001:db8::1-2001:db8::2']), makeHostFacts());
const lbtest = { namespace: 'lbtest', sharingKey: 'pihole' };
const shop = { namespace: 'shop', sharingKey: undefined };

function made(...texts: readonly string[]): UsedAddresses {
  const used = new UsedAddresses(pool);
  for (const text of texts) used.count(ip(text), lbtest, 1);
  return used;
}
const free = (used: UsedAddresses): readonly string[] => Array.from(used.free(4, undefined), ({ text }) => text);

test('free and used addresses are offered lowest first, those of the other family and outside the pool never', () => {
  const used = made('192.0.2.4', '192.0.2.2', '2001:db8::1', '198.51.100.1');
  expect(free(used)).toEqual(['192.0.2.1', '192.0.2.3']);
  expect(used.inUse(4, undefined).map(({ text }) => text)).toEqual(['192.0.2.2', '192.0.2.4']);
});

test('an address is free again after its last listener, also one before those that a search skips', () => {
  const used = made('192.0.2.1', '192.0.2.1', '192.0.2.2');
  expect(free(used)).toEqual(['192.0.2.3', '192.0.2.4']);
  used.count(ip('192.0.2.1'), lbtest, -1);
  expect(free(used)).toEqual(['192.0.2.3', '192.0.2.4']);
  used.count(ip('192.0.2.1'), lbtest, -1);
  expect(free(used)).toEqual(['192.0.2.1', '192.0.2.3', '192.0.2.4']);
  expect(used.get('192.0.2.1')).toBeUndefined();
});

test('a search skips no free address, before or after a used one', () => {
  const used = made('192.0.2.1', '192.0.2.3', '192.0.2.4');
  expect([free(used), free(used)]).toEqual([['192.0.2.2'], ['192.0.2.2']]);
  used.count(ip('192.0.2.4'), lbtest, -1);
  expect(free(used)).toEqual(['192.0.2.2', '192.0.2.4']);
});

test('an address is shared within a namespace, and with all others only by the same key', () => {
  const used = made('192.0.2.1');
  expect(used.mayShare({ namespace: 'other', sharingKey: 'pihole' }, ip('192.0.2.1'))).toBe(true);
  expect(used.mayShare({ namespace: 'lbtest', sharingKey: undefined }, ip('192.0.2.1'))).toBe(true);
  expect(used.mayShare(shop, ip('192.0.2.1'))).toBe(false);
  used.count(ip('192.0.2.1'), shop, 1);
  expect(used.mayShare({ namespace: 'other', sharingKey: 'pihole' }, ip('192.0.2.1'))).toBe(false);
  used.count(ip('192.0.2.2'), shop, 1);
  expect(used.mayShare({ namespace: 'other', sharingKey: undefined }, ip('192.0.2.2'))).toBe(false);
});
