import { expect, test } from 'vitest';
import { ip } from '../../test/make/service.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { makeLastingLinks } from './lasting-links.ts';
import type { NetworkInterface } from './interfaces.ts';

const eth0: NetworkInterface = {
  name: 'eth0',
  index: 2,
  mac: '02:00:00:00:00:01',
  mtu: 1_500,
  isUp: true,
  isRunning: true,
  addresses: ['192.0.2.51', '2001:db8::51'].map((text) => ({
    ip: ip(text),
    prefixLength: text.includes(':') ? 64 : 24,
    isPreferred: true,
    isLasting: true,
    expires: false,
    isMarked: false,
  })),
};
const flushed: NetworkInterface = { ...eth0, addresses: [] };
const br0: NetworkInterface = { ...eth0, name: 'br0', index: 3, mac: '02:00:00:00:00:03' };

function startRig() {
  const clock = virtualClock();
  const rig = { clock, interfaces: [eth0] as readonly NetworkInterface[], ends: 0 };
  const { linkOf } = makeLastingLinks({
    interfaces: () => rig.interfaces,
    clock,
    lifetime: new AbortController().signal,
    onEnd: () => (rig.ends += 1),
  });
  const nameOf = (text: string): string | undefined => linkOf(ip(text))?.name;
  return Object.assign(rig, { of: () => [nameOf('192.0.2.11'), nameOf('2001:db8::11')] });
}

test('a link that loses its addresses for a moment stays the link of its subnets', async () => {
  const rig = startRig();
  expect(rig.of()).toEqual(['eth0', 'eth0']);
  rig.interfaces = [flushed];
  expect(rig.of()).toEqual(['eth0', 'eth0']);
  await rig.clock.advance(500);
  rig.interfaces = [{ ...eth0, addresses: eth0.addresses.slice(0, 1) }];
  expect(rig.of()).toEqual(['eth0', 'eth0']);
  rig.interfaces = [eth0];
  await rig.clock.advance(20_000);
  expect(rig.of()).toEqual(['eth0', 'eth0']);
});

test('a link that is down for a moment stays the link of its subnets, for longer it does not', async () => {
  const rig = startRig();
  rig.of();
  for (const down of [eth0, { ...eth0, addresses: eth0.addresses.slice(0, 1) }]) {
    rig.interfaces = [{ ...down, isUp: false, isRunning: false }];
    expect(rig.of()).toEqual(['eth0', 'eth0']);
    await rig.clock.advance(500);
    rig.interfaces = [eth0];
    expect(rig.of()).toEqual(['eth0', 'eth0']);
    await rig.clock.advance(10_000);
  }
  rig.interfaces = [{ ...eth0, isUp: false, isRunning: false }];
  rig.of();
  await rig.clock.advance(8_100);
  expect(rig.of()).toEqual([undefined, undefined]);
});

test('one that lost them for longer is not, and that is reported', async () => {
  const rig = startRig();
  rig.of();
  rig.interfaces = [flushed];
  rig.of();
  await rig.clock.advance(7_900);
  expect([rig.of(), rig.ends]).toEqual([['eth0', 'eth0'], 0]);
  await rig.clock.advance(200);
  expect([rig.of(), rig.ends]).toEqual([[undefined, undefined], 1]);
});

test('the end of each loss is reported, also of one that began while another lasted', async () => {
  const rig = startRig();
  rig.of();
  rig.interfaces = [{ ...eth0, addresses: eth0.addresses.slice(0, 1) }];
  rig.of();
  await rig.clock.advance(3_000);
  rig.interfaces = [flushed];
  rig.of();
  await rig.clock.advance(5_100);
  expect([rig.of(), rig.ends]).toEqual([['eth0', undefined], 1]);
  await rig.clock.advance(3_000);
  expect([rig.of(), rig.ends]).toEqual([[undefined, undefined], 2]);
});

test.each([
  ['is removed', []],
  ['is made again', [{ ...flushed, index: 7 }]],
  ['is renamed', [{ ...flushed, name: 'lan0' }]],
])('one that %s is not the link of any subnet', (_, now) => {
  const rig = startRig();
  rig.of();
  rig.interfaces = now;
  expect(rig.of()).toEqual([undefined, undefined]);
});

test('a subnet that moves to another link is on that one at once', () => {
  const rig = startRig();
  rig.of();
  rig.interfaces = [flushed, br0];
  expect(rig.of()).toEqual(['br0', 'br0']);
});
