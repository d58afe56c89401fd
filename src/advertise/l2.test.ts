import { afterAll, expect, test } from 'vitest';
import { addressesOf } from '../../test/make/table.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { Ip } from '../core/ip/ip.ts';
import type { Advertiser } from '../ports/host.ts';
import { makeL2Advertiser } from './l2.ts';

const lifetime = new AbortController();
afterAll(() => lifetime.abort());

/** An advertiser whose announcements are counted; 203.0.113.0/24 is on no link. */
function makeRig(): {
  readonly advertiser: Advertiser;
  readonly clock: ReturnType<typeof virtualClock>;
  readonly sent: number[];
} {
  const clock = virtualClock();
  const sent: number[] = [];
  const advertiser = makeL2Advertiser({
    sender: { announce: (frames) => void (frames.length > 0 && sent.push(frames.length)) },
    findLink: ({ text }: Ip) => (text.startsWith('203.') ? undefined : { index: 2, mac: '02:00:00:00:00:01' }),
    clock,
  });
  void advertiser.run(lifetime.signal).catch(() => undefined); // it ends with the test
  return { advertiser, clock, sent };
}

test('an address is announced at once, and again after 5 and 30 seconds', async () => {
  const { advertiser, clock, sent } = makeRig();
  advertiser.advertise(addressesOf('192.0.2.8', '192.0.2.9'));
  expect(sent).toEqual([2]);
  await clock.advance(6_000);
  expect(sent).toEqual([2, 2]);
  await clock.advance(25_000);
  expect(sent).toEqual([2, 2, 2]);
  await clock.advance(600_000);
  expect(sent).toHaveLength(3);
});

test('an address that is known costs nothing, and one that went is not announced again', async () => {
  const { advertiser, clock, sent } = makeRig();
  advertiser.advertise(addressesOf('192.0.2.8', '192.0.2.9'));
  advertiser.advertise(addressesOf('192.0.2.8', '192.0.2.9'));
  advertiser.advertise(addressesOf('192.0.2.8'));
  await clock.advance(60_000);
  expect(sent).toEqual([2, 1, 1]);
});

test('all addresses are announced again when a link comes up', async () => {
  const { advertiser, clock, sent } = makeRig();
  advertiser.advertise(addressesOf('192.0.2.8', '192.0.2.9'));
  await clock.advance(60_000);
  sent.length = 0;
  advertiser.again();
  await clock.advance(60_000);
  expect(sent).toEqual([2, 2, 2]);
});

test('an address on no link of this host is left to the routers', async () => {
  const { advertiser, clock, sent } = makeRig();
  advertiser.advertise(addressesOf('203.0.113.1'));
  await clock.advance(60_000);
  expect(sent).toEqual([]);
});
