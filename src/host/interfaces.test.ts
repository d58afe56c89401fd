import { describe, expect, test } from 'vitest';
import { PersistentMap } from '../core/persistent-map.ts';
import { parseIp } from '../core/ip/ip.ts';
import { decodeInterfaces, linkFinder, type NetworkInterface, sortAddresses } from './interfaces.ts';

/** As `ip -json address` prints it. */
function link(ifname: string, addresses: readonly string[], rest: object = {}): object {
  const addr_info = addresses.map((text) => {
    const [local, prefixlen] = text.replace(/ .*/, '').split('/');
    const preferred_life_time = text.endsWith(' preferred') ? 3600 : 0;
    return {
      preferred_life_time,
      family: local?.includes(':') === true ? 'inet6' : 'inet',
      local,
      prefixlen: Number(prefixlen),
      ...(text.includes(' marked') ? { metric: 8201 } : {}),
    };
  });
  return { ifindex: 2, ifname, flags: ['UP'], link_type: 'ether', address: '02:00:00:00:00:01', addr_info, ...rest };
}
const read = (...links: readonly object[]): readonly NetworkInterface[] => decodeInterfaces(JSON.stringify(links));

const eth0 = link('eth0', ['192.0.2.11/24', '2001:db8::11/64', 'fe80::1/64']);
const lo = link('lo', ['127.0.0.1/8', '::1/128', '198.51.100.1/32'], { link_type: 'loopback' });
const furiwake0 = link('furiwake0', ['192.0.2.50/32']);

describe('the link of an address', () => {
  test.each([
    ['is the interface whose subnet contains it', '192.0.2.50', 'eth0'],
    ['is also found for IPv6', '2001:db8::50', 'eth0'],
    ['is the one with the longest prefix', '10.1.2.3', 'narrow'],
    ['is none for an address in no subnet', '203.0.113.1', undefined],
    ['is not an interface that is down', '172.16.0.1', undefined],
    ['is not an interface without Ethernet', '172.17.0.1', undefined],
    ['is not an interface that only has the address', '198.18.0.1', undefined],
  ])('%s', (_, text, name) => {
    const interfaces = read(
      eth0,
      link('wide', ['10.0.0.1/8']),
      link('narrow', ['10.1.2.1/24']),
      link('down', ['172.16.0.9/16'], { flags: [] }),
      link('tunnel', ['172.17.0.9/16'], { link_type: 'none' }),
      link('single', ['198.18.0.1/32']),
      {}, // the output of ip for an interface that its filter excludes
    );
    const ip = parseIp(text);
    expect(ip && linkFinder(interfaces)(ip)?.name).toBe(name);
  });
});

describe('an address of the host', () => {
  const own = (record: readonly (readonly [string, string])[], ...links: readonly object[]): readonly string[] => [
    ...sortAddresses(read(...links), PersistentMap.from(record)).own.keys(),
  ];
  const present = (
    record: readonly (readonly [string, string])[],
    ...links: readonly object[]
  ): readonly (readonly [string, string])[] => [...sortAddresses(read(...links), PersistentMap.from(record)).present];

  test('is the host’s own if it is not recorded, except loopback and link-local ones', () => {
    expect(own([], lo, eth0)).toEqual(['198.51.100.1', '192.0.2.11', '2001:db8::11']);
  });

  test('is furiwake’s on an interface of furiwake, recorded or not', () => {
    expect(own([], furiwake0)).toEqual([]);
    expect(present([], furiwake0)).toEqual([['192.0.2.50', 'furiwake0']]);
  });

  test('is furiwake’s on the recorded interface, if it is on two interfaces', () => {
    const both = [link('eth0', ['2001:db8::50/128']), link('furiwake0', ['2001:db8::50/128'])];
    for (const name of ['eth0', 'furiwake0'])
      expect(present([['2001:db8::50', name]], ...both)).toEqual([['2001:db8::50', name]]);
  });

  test('is furiwake’s on the recorded interface, as a single address', () => {
    const eth0With = link('eth0', ['2001:db8::11/64', '2001:db8::50/128']);
    expect(own([['2001:db8::50', 'eth0']], eth0With)).toEqual(['2001:db8::11']);
  });

  test('is furiwake’s on a renamed interface, and is then recorded there', () => {
    const renamed = link('lan0', ['2001:db8::11/64 preferred', '2001:db8::50/128']);
    expect(own([['2001:db8::50', 'eth0']], renamed)).toEqual(['2001:db8::11']);
    expect(present([['2001:db8::50', 'eth0']], renamed)).toEqual([['2001:db8::50', 'lan0']]);
  });

  test('is furiwake’s if it has the mark, recorded or not', () => {
    const marked = link('eth0', ['2001:db8::50/128 marked']);
    for (const record of [[], [['2001:db8::50', 'furiwake0']]] as const) {
      expect(own(record, marked, link('furiwake0', []))).toEqual([]);
      expect(present(record, marked, link('furiwake0', []))).toEqual([['2001:db8::50', 'eth0']]);
    }
  });

  test.each([
    ['with a wider prefix', '2001:db8::50/64 marked'],
    ['with a preferred lifetime', '2001:db8::50/128 marked preferred'],
  ])('is the host’s own if it has the mark but is found %s', (_, text) => {
    expect(own([], link('eth0', [text]))).toEqual(['2001:db8::50']);
  });

  test.each([
    ['on another interface', link('eth1', ['2001:db8::50/128'])],
    ['with a prefix that furiwake never uses', link('vlan9', ['2001:db8::50/64'])],
    ['with a preferred lifetime, which furiwake never sets', link('vlan9', ['2001:db8::50/128 preferred'])],
  ])('is the host’s own if it is recorded but found %s', (_, found) => {
    expect(own([['2001:db8::50', 'vlan9']], link('vlan9', []), found)).toEqual(['2001:db8::50']);
  });

  test('is the host’s own if furiwake’s interface for it was removed and another one has it', () => {
    expect(own([['192.0.2.50', 'furiwake0']], link('eth0', ['192.0.2.50/32']))).toEqual(['192.0.2.50']);
  });
});
