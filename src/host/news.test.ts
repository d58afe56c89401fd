import { describe, expect, test } from 'vitest';
import { ip } from '../../test/make/service.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { NetworkInterface } from './interfaces.ts';
import type { NetworkEvent } from './kernel-events.ts';
import { type KnownHost, makeNewsFilter, type News } from './news.ts';

const mac = '02:00:00:00:00:01';
const networkInterface = (name: string, index: number, rest: Partial<NetworkInterface> = {}): NetworkInterface => ({
  name,
  index,
  mac,
  mtu: 1_500,
  isUp: true,
  isRunning: true,
  addresses: [],
  ...rest,
});
const host: KnownHost = {
  interfaces: [
    networkInterface('eth0', 2),
    networkInterface('furiwake0', 7),
    networkInterface('tunnel', 8, { mac: undefined }),
  ],
  own: new Map([['192.0.2.11', ip('192.0.2.11')]]),
  record: PersistentMap.from([
    ['192.0.2.50', 'furiwake0'],
    ['2001:db8::50', 'eth0'],
  ]),
  isBeingRead: false,
};

const link = (index: number, name: string, rest: { isRunning?: boolean; mac?: string } = {}): NetworkEvent => ({
  kind: 'link',
  index,
  name,
  isRunning: true,
  mac,
  ...rest,
});
const address = (kind: 'added' | 'removed', cidr: string, index: number): NetworkEvent => {
  const [text = '', length] = cidr.split('/');
  return { kind, address: text, prefixLength: Number(length), index };
};

/** The result for the last of the events, after the first `unsure`. */
function newsOf(known: Partial<KnownHost>, ...events: readonly NetworkEvent[]): News | undefined {
  const filter = makeNewsFilter(() => ({ ...host, ...known }));
  filter({ kind: 'unsure' });
  return events.map(filter).at(-1);
}

describe('an address', () => {
  test.each([
    ['that the host gets', address('added', '192.0.2.77/24', 2)],
    ['that the host loses', address('removed', '192.0.2.11/24', 2)],
    ['of furiwake that is deleted', address('removed', '192.0.2.50/32', 7)],
    ['of furiwake that is deleted from the LAN', address('removed', '2001:db8::50/128', 2)],
    ['of furiwake that another program configures on another interface', address('added', '192.0.2.50/24', 2)],
    ['of furiwake that another program configures with another prefix', address('added', '2001:db8::50/64', 2)],
  ])('%s is news', (_, event) => {
    expect(newsOf({}, event)).toEqual({ linksUp: [] });
  });

  test.each([
    ['that furiwake adds', address('added', '192.0.2.50/32', 7)],
    ['that furiwake adds to the LAN', address('added', '2001:db8::50/128', 2)],
    ['that furiwake removes', address('removed', '192.0.2.51/32', 7)],
    ['that furiwake moves away from an interface', address('removed', '2001:db8::50/128', 7)],
    ['whose lifetime is renewed', address('added', '192.0.2.11/24', 2)],
    ['of the link alone, IPv6', address('added', 'fe80::1/64', 2)],
    ['of the link alone, IPv4', address('added', '169.254.7.7/16', 2)],
  ])('%s is not news', (_, event) => {
    expect(newsOf({}, event)).toBeUndefined();
  });

  test('that returns while the host is being read is news: the reading may not contain it', () => {
    expect(newsOf({ isBeingRead: true }, address('added', '192.0.2.11/24', 2))).toEqual({ linksUp: [] });
  });

  test('that furiwake adds to an interface that it has just created is not news', () => {
    const known = { record: host.record.with([['192.0.2.60', 'furiwake1']]) };
    const made = link(9, 'furiwake1', { isRunning: false });
    expect(newsOf(known, made)).toBeUndefined();
    expect(newsOf(known, made, link(9, 'furiwake1'))).toBeUndefined();
    expect(newsOf(known, made, link(9, 'furiwake1'), address('added', '192.0.2.60/32', 9))).toBeUndefined();
  });
});

describe('an interface', () => {
  test.each([
    ['that comes up', [link(2, 'eth0', { isRunning: false }), link(2, 'eth0')], [2]],
    ['that is new', [link(3, 'eth1')], [3]],
    ['with another MAC', [link(2, 'eth0', { mac: '02:00:00:00:00:99' })], [2]],
    ['that goes down', [link(2, 'eth0', { isRunning: false })], []],
    ['that is renamed', [link(2, 'lan0')], []],
    ['that is removed', [{ kind: 'link gone', index: 2 }], []],
    ['that returned with its name and number', [{ kind: 'link gone', index: 2 }, link(2, 'lan0')], []],
    ['of furiwake that is set down', [link(7, 'furiwake0', { isRunning: false })], []],
    ['of furiwake that is deleted', [{ kind: 'link gone', index: 7 }], []],
  ] satisfies [string, NetworkEvent[], number[]][])('%s is news', (_, events, linksUp) => {
    expect(newsOf({}, ...events)).toEqual({ linksUp });
  });

  test.each([
    ['without a relevant change', link(2, 'eth0')],
    ['that is not Ethernet, and did not change', link(8, 'tunnel', { mac: '192.0.2.1' })],
    ['of furiwake that came up', link(7, 'furiwake0')],
  ])('%s is not news', (_, event) => {
    expect(newsOf({}, event)).toBeUndefined();
  });

  test('of furiwake that is removed with its last address is not news', () => {
    const record = host.record.with([['192.0.2.50', undefined]]);
    expect(newsOf({ record }, { kind: 'link gone', index: 7 })).toBeUndefined();
  });
});

test('a default route is news', () => {
  expect(newsOf({}, { kind: 'route' })).toEqual({ linksUp: [] });
});

test('after a gap every link may have come up; at the start none has', () => {
  const filter = makeNewsFilter(() => host);
  expect(filter({ kind: 'unsure' })).toEqual({ linksUp: [] });
  expect(filter({ kind: 'unsure' })).toEqual({ linksUp: [2, 7, 8] });
});

test('a link that went down while events were lost is news when it comes up: what the kernel said before the loss counts no more', () => {
  const isDown = { interfaces: [networkInterface('eth0', 2, { isRunning: false })] };
  expect(newsOf(isDown, link(2, 'eth0'), { kind: 'unsure' }, link(2, 'eth0'))).toEqual({ linksUp: [2] });
});
