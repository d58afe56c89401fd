import { expect, test } from 'vitest';
import { ip } from '../../test/make/service.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { decodeInterfaces } from './interfaces.ts';
import { makeLinks, type ReportedLinks } from './links.ts';

/** Two Ethernet interfaces, in 192.0.2.0/24 and 198.51.100.0/24; furiwake added an address to each LAN, and a routed one. */
const interfaces = decodeInterfaces(
  JSON.stringify(
    ['192.0.2.1', '198.51.100.1'].map((local, index) => ({
      ifindex: index + 2,
      ifname: `eth${index}`,
      flags: ['UP'],
      link_type: 'ether',
      address: `02:00:00:00:00:0${index}`,
      addr_info: [{ local, prefixlen: 24 }],
    })),
  ),
);
const present = PersistentMap.from(
  ['192.0.2.50', '198.51.100.50', '203.0.113.50'].map((text) => [text, 'furiwake0'] as const),
);

function makeRig(): { readonly links: ReportedLinks; readonly told: readonly (readonly string[])[] } {
  const links = makeLinks(() => ({ interfaces, present }));
  const told: (readonly string[])[] = [];
  links.onStaleNeighbours((addresses) => void told.push(addresses.map(({ text }) => text).toSorted()));
  return { links, told };
}

test('an audit reports restored addresses, and those on links that came up, each once', async () => {
  const { links, told } = makeRig();
  links.noteUp([2]);
  const restored = [ip('192.0.2.50'), ip('203.0.113.50')];
  expect(await links.audited(async () => restored)).toBe(restored);
  expect(told).toEqual([['192.0.2.50', '203.0.113.50']]);
  await links.audited(async () => []);
  expect(told).toHaveLength(1);
});

test('a link that came up is reported by the next audit that succeeds', async () => {
  const { links, told } = makeRig();
  links.noteUp([3]);
  await expect(links.audited(() => Promise.reject(new Error('ip: no')))).rejects.toThrow('ip: no');
  expect(told).toEqual([]);
  await links.audited(async () => []);
  expect(told).toEqual([['198.51.100.50']]);
});

test('a link that comes up during an audit is reported by the next one: the first has read its former state', async () => {
  const { links, told } = makeRig();
  await links.audited(async () => {
    links.noteUp([2]);
    return [];
  });
  expect(told).toEqual([]);
  await links.audited(async () => []);
  expect(told).toEqual([['192.0.2.50']]);
});
