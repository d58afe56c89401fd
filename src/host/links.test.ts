import { expect, test } from 'vitest';
import { ip } from '../../test/make/service.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { decodeInterfaces, type NetworkInterface } from './interfaces.ts';
import { makeLinks, type ReportedLinks } from './links.ts';

/** Ethernet interfaces, each with its number, MAC and address, up. */
const interfacesOf = (...links: readonly (readonly [number, string, string?])[]): readonly NetworkInterface[] =>
  decodeInterfaces(
    JSON.stringify(
      links.map(([ifindex, address, local]) => ({
        ifindex,
        ifname: `eth${ifindex}`,
        flags: ['UP'],
        link_type: 'ether',
        address,
        addr_info: local === undefined ? [] : [{ local, prefixlen: 24 }],
      })),
    ),
  );
const [first, second] = [
  [2, '02:00:00:00:00:00', '192.0.2.1'],
  [3, '02:00:00:00:00:01', '198.51.100.1'],
] as const;
/** In 192.0.2.0/24 and 198.51.100.0/24; furiwake added an address to each LAN, and a routed one. */
const interfaces = interfacesOf(first, second);
const present = PersistentMap.from(
  ['192.0.2.50', '198.51.100.50', '203.0.113.50'].map((text) => [text, 'furiwake0'] as const),
);

function makeRig(view = (): readonly NetworkInterface[] => interfaces): {
  readonly links: ReportedLinks;
  readonly told: readonly (readonly string[])[];
} {
  const links = makeLinks(() => ({ interfaces: view(), present }));
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

test.each([
  ['on another link that was up before', interfacesOf([2, first[1]], second, [4, '02:00:00:00:00:02', '192.0.2.1'])],
  ['on a link with another MAC', interfacesOf([2, '02:00:00:00:00:09', '192.0.2.1'], second)],
  ['on a link that was made again', interfacesOf([4, first[1], '192.0.2.1'], second)],
])('addresses that neighbours resolve %s are reported once, also if they were on none meanwhile', async (_, later) => {
  let now = interfaces;
  const { links, told } = makeRig(() => now);
  const turn = (next: readonly NetworkInterface[]): Promise<unknown> =>
    links.audited(async () => {
      now = next;
      return [];
    });
  await turn(interfaces);
  await turn(later);
  await turn(later);
  expect(told).toEqual([['192.0.2.50']]);
  await turn(interfacesOf(second));
  await turn(interfaces);
  expect(told).toEqual([['192.0.2.50'], ['192.0.2.50']]);
});

test('an interface or address that concerns no LAN of an added address announces nothing again', async () => {
  let now = interfaces;
  const { links, told } = makeRig(() => now);
  for (const next of [interfaces, interfacesOf(first, second, [4, '02:00:00:00:00:04', '10.0.0.1']), interfaces])
    await links.audited(async () => {
      now = next;
      return [];
    });
  expect(told).toEqual([]);
});
