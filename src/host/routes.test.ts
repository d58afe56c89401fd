import { describe, expect, test } from 'vitest';
import { noPrograms } from '../../test/sim/harness.ts';
import { ip } from '../../test/make/service.ts';
import { formatRange } from '../core/ip/range.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { decodeInterfaces, type NetworkInterface } from './interfaces.ts';
import { neededAddresses, primaryAddresses, readRoutes, routedRanges, type RoutingTables } from './routes.ts';

type Address = { readonly local: string; readonly prefixlen: number } & Readonly<Record<string, unknown>>;

/** As `ip -json address` lists it. */
function link(ifname: string, ...addresses: readonly Address[]): NetworkInterface {
  const addr_info = addresses.map((address) => ({ scope: 'global', preferred_life_time: 3600, ...address }));
  const listed = { ifindex: 2, ifname, flags: ['UP', 'LOWER_UP'], link_type: 'ether', addr_info };
  const [decoded] = decodeInterfaces(JSON.stringify([listed]));
  if (decoded === undefined) throw new Error('not decoded');
  return decoded;
}

/** As `ip -json route` lists them; the family is that of the routes of `six` or `four`. */
const routes = (four: RoutingTables[4], six: RoutingTables[6] = []): RoutingTables => ({ 4: four, 6: six });

const eth0 = link('eth0', { local: '192.0.2.11', prefixlen: 24 }, { local: '2001:db8::11', prefixlen: 64 });
const eth1 = link('eth1', { local: '198.51.100.11', prefixlen: 24 });

describe('the host’s own address', () => {
  const primary = (
    found: RoutingTables,
    interfaces: readonly NetworkInterface[],
    placed: readonly [string, string][] = [],
    before: readonly string[] = [],
  ): readonly string[] =>
    primaryAddresses(found, interfaces, PersistentMap.from(placed), before.map(ip)).map(({ text }) => text);

  test.each<[string, RoutingTables, readonly string[]]>([
    [
      'is that on the interface of the default route',
      routes([{ dst: 'default', dev: 'eth0', gateway: '192.0.2.1' }]),
      ['192.0.2.11'],
    ],
    [
      'is one of each family that has a default route',
      routes([{ dst: 'default', dev: 'eth1' }], [{ dst: 'default', dev: 'eth0' }]),
      ['198.51.100.11', '2001:db8::11'],
    ],
    [
      'is that of the route with the lowest metric; none is 0',
      routes([
        { dst: 'default', dev: 'eth0', metric: 100 },
        { dst: 'default', dev: 'eth1' },
      ]),
      ['198.51.100.11'],
    ],
    [
      'is that of the first next hop of several',
      routes([{ dst: 'default', nexthops: [{ dev: 'eth1', gateway: '198.51.100.1' }, { dev: 'eth0' }] }]),
      ['198.51.100.11'],
    ],
    ['is none without a default route', routes([{ dst: '10.0.0.0/8', dev: 'eth0' }]), []],
    ['is none if the interface does not exist', routes([{ dst: 'default', dev: 'ppp0' }]), []],
  ])('%s', (_, found, texts) => {
    expect(primary(found, [eth0, eth1])).toEqual(texts);
  });

  test.each<[string, Address]>([
    ['temporary', { local: '2001:db8::dead', prefixlen: 64, temporary: true }],
    ['deprecated', { local: '2001:db8::dead', prefixlen: 64, deprecated: true }],
    ['link-local', { local: 'fe80::1', prefixlen: 64, scope: 'link' }],
  ])('is not one that is %s', (_, other) => {
    const found = routes([], [{ dst: 'default', dev: 'eth0' }]);
    expect(primary(found, [link('eth0', other, { local: '2001:db8::11', prefixlen: 64 })])).toEqual(['2001:db8::11']);
  });

  test('is the oldest of several: the kernel lists those of IPv6 newest first', () => {
    const byDefault = [{ dst: 'default', dev: 'eth0' }];
    const lan = link(
      'eth0',
      { local: '192.0.2.11', prefixlen: 24 },
      { local: '192.0.2.99', prefixlen: 24 },
      { local: '2001:db8:9::11', prefixlen: 64 },
      { local: '2001:db8::11', prefixlen: 64 },
    );
    expect(primary(routes(byDefault, byDefault), [lan])).toEqual(['192.0.2.11', '2001:db8::11']);
  });

  test('stays while it is usable, also when an older one is usable again', () => {
    const found = routes([], [{ dst: 'default', dev: 'eth0' }]);
    const [newer, older] = [
      { local: '2001:db8:9::11', prefixlen: 64 },
      { local: '2001:db8::11', prefixlen: 64 },
    ];
    const after = (before: string, ...addresses: readonly Address[]): readonly string[] =>
      primary(found, [link('eth0', ...addresses)], [], [before]);
    expect(after(newer.local, newer, older)).toEqual([newer.local]);
    expect(after(newer.local, { ...newer, deprecated: true }, older)).toEqual([older.local]);
    expect(after(newer.local, older)).toEqual([older.local]);
  });

  test('is not one that furiwake added', () => {
    const found = routes([], [{ dst: 'default', dev: 'eth0' }]);
    const lan = link('eth0', { local: '2001:db8::50', prefixlen: 128 }, { local: '2001:db8::11', prefixlen: 64 });
    expect(primary(found, [lan], [['2001:db8::50', 'eth0']])).toEqual(['2001:db8::11']);
  });
});

describe('the set of addresses that the host needs', () => {
  test('includes its gateways, next hops and DNS servers', () => {
    const found = routes(
      [
        { dst: 'default', dev: 'eth0', gateway: '192.0.2.1' },
        { dst: '10.0.0.0/8', dev: 'eth0', gateway: '192.0.2.2' },
        { dst: '10.1.0.0/16', nexthops: [{ dev: 'eth0', gateway: '192.0.2.3' }] },
        { dst: '192.0.2.0/24', dev: 'eth0' },
      ],
      [{ dst: 'default', dev: 'eth0', via: { host: '2001:db8::1' } }],
    );
    const resolvConf =
      '# by hand\nnameserver 192.0.2.53\n  nameserver fe80::53%eth0\nnameserver nonsense\nsearch example.com';
    expect(Object.fromEntries(neededAddresses(found, [], resolvConf))).toEqual({
      '192.0.2.1': 'default gateway of this host',
      '192.0.2.2': 'gateway of this host',
      '192.0.2.3': 'gateway of this host',
      '2001:db8::1': 'default gateway of this host',
      '192.0.2.53': 'DNS server of this host',
      'fe80::53': 'DNS server of this host',
    });
  });

  test('includes addresses that no host of its LANs may have', () => {
    expect(Object.fromEntries(neededAddresses(routes([]), [eth0], ''))).toEqual({
      '192.0.2.0': 'network address of a LAN of this host',
      '192.0.2.255': 'broadcast address of a LAN of this host',
      '2001:db8::': 'subnet-router anycast address of a LAN of this host',
    });
  });

  test.each([
    ['192.0.2.11', 32],
    ['192.0.2.11', 31],
    ['2001:db8::11', 128],
    ['2001:db8::11', 127],
  ])('has no address of a link such as %s/%d: all of its addresses are hosts', (local, prefixlen) => {
    expect([...neededAddresses(routes([]), [link('eth0', { local, prefixlen })], '')]).toEqual([]);
  });

  test('of two roles the first counts: a gateway that is also a DNS server is called a gateway', () => {
    const found = routes([{ dst: 'default', gateway: '192.0.2.1' }]);
    expect([...neededAddresses(found, [], 'nameserver 192.0.2.1')]).toEqual([
      ['192.0.2.1', 'default gateway of this host'],
    ]);
  });
});

test('without routes the list is empty: ip then prints nothing, or an empty list', async () => {
  const exec = {
    ...noPrograms,
    run: async (_: string, [family]: readonly string[]) => ({ stdout: family === '-4' ? '' : '[]\n', stderr: '' }),
  };
  expect(await readRoutes(exec, new AbortController().signal)).toEqual({ 4: [], 6: [] });
});

test('the routed networks are those of all routes but default ones, without what a more specific route leads nowhere', () => {
  const found = routes(
    [
      { dst: 'default', gateway: '192.0.2.1', dev: 'eth0' },
      { type: 'blackhole', dst: '10.244.0.64/26' },
      { dst: '10.244.0.0/24', gateway: '192.0.2.11', dev: 'eth0' },
      { dst: '10.244.0.65', dev: 'cali1' },
      { type: 'unreachable', dst: '10.0.0.0/8' },
      { dst: '10.244.1.0/24', nexthops: [{ gateway: '192.0.2.12', dev: 'eth0' }] },
      { dst: 'nonsense', dev: 'eth0' },
    ],
    [
      { dst: 'default', dev: 'eth0' },
      { dst: 'fd00::/64', dev: 'eth0' },
    ],
  );
  expect(routedRanges(found).map(formatRange)).toEqual([
    '10.244.0.0-10.244.0.63',
    '10.244.0.65',
    '10.244.0.128-10.244.1.255',
    'fd00::-fd00::ffff:ffff:ffff:ffff',
  ]);
});
