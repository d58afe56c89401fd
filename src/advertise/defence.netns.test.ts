import { afterAll, beforeAll, expect, test } from 'vitest';
import { patience } from '../../test/netns/patience.ts';
import { linkAddresses, type PlacementRig, startPlacementRig } from '../../test/netns/placement-rig.ts';
import { silent } from '../../test/make/log.ts';
import { systemClock } from '../main/node/clock.ts';
import { hearAnnouncements } from './announcements.ts';
import { makeFrameSender } from './frame-sender.ts';
import { announcementOf } from './frames.ts';

let rig: PlacementRig;

beforeAll(async () => {
  rig = await startPlacementRig();
});
afterAll(() => rig[Symbol.asyncDispose]());

test('an address that another machine announces, in either family, is announced again, and neighbours return to this host', async () => {
  const stop = new AbortController();
  const { client } = rig.lab;
  await rig.add(linkAddresses);
  const mac = await rig.macOf('wan');
  const { index } = await client.device('eth0');
  const sender = makeFrameSender({ exec: client.execPort, clock: systemClock, log: silent, lifetime: stop.signal });
  const lines = await rig.startCapture();
  const heardHere = (text: string): number =>
    lines.filter((line) => line.startsWith(mac) && line.includes(text)).length;
  const texts = [...linkAddresses.keys()];
  await expect.poll(() => texts.every((text) => heardHere(text) > 0), patience).toBe(true);
  const elsewhere = '02:00:00:00:00:99';
  const attack = [...linkAddresses.values()].map((address) => announcementOf(address, elsewhere, index));
  const said = (): string => rig.warnings.map((fields) => String((fields as { err?: unknown }).err)).join();
  await expect
    .poll(
      () => {
        void sender.announce(attack); // again: an IPv6 announcement during the probe of this host counts as its answer
        return texts.every((text) => said().includes(text));
      },
      { ...patience, interval: 250 },
    )
    .toBe(true);
  expect(said()).toContain(elsewhere);
  for (const text of texts) await rig.pretendElsewhere(text);
  void sender.announce(attack);
  for (const text of texts) await expect.poll(() => rig.neighbour(text), patience).toBe(mac);
  stop.abort();
});

test('a flood of announcements of one address arrives at most once a second', async () => {
  const stop = new AbortController();
  const { client, balancer } = rig.lab;
  const { index } = await client.device('eth0');
  const [address, last] = [...linkAddresses.values()];
  const sender = makeFrameSender({ exec: client.execPort, clock: systemClock, log: silent, lifetime: stop.signal });
  const frame = announcementOf(address!, '02:00:00:00:00:98', index);
  const mark = announcementOf(last!, '02:00:00:00:00:97', index);
  let heard = 0;
  for await (const each of hearAnnouncements(balancer.execPort, stop.signal)) {
    if (each === 'listening') void sender.announce([...Array.from({ length: 1_000 }, () => frame), mark]);
    else if (each.mac === '02:00:00:00:00:97') break;
    else if (each.mac === '02:00:00:00:00:98') heard++;
  }
  expect(heard).toBeGreaterThan(0);
  expect(heard).toBeLessThan(5);
  stop.abort();
});
