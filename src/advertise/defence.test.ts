import { afterAll, expect, test } from 'vitest';
import { addressesOf } from '../../test/make/table.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { untilAborted } from '../async/abort.ts';
import { makeLatch } from '../async/latch.ts';
import { makeDefence } from './defence.ts';
import type { Neighbour } from './frames.ts';

const lifetime = new AbortController();
afterAll(() => lifetime.abort());

const [own, other] = ['02:00:00:00:00:01', '02:00:00:00:00:99'];
const mine = addressesOf('192.0.2.8', '192.0.2.9');

function makeRig() {
  let held = mine;
  const clock = virtualClock();
  const log = recordLog();
  const heard: Neighbour[] = [];
  const news = makeLatch();
  const defence = makeDefence({
    hear: async function* (signal) {
      yield 'listening';
      for (;;) {
        yield* heard.splice(0);
        await news.wait(signal);
      }
    },
    links: { linkOf: () => ({ name: 'eth0', index: 2, mac: own, mtu: 1_500 }) },
    clock,
    log,
  });
  const sent: string[] = [];
  defence.onAttack(
    (texts) => void sent.push(`${Math.round(clock.monotonic() / 1_000)}: ${texts.toSorted().join(' ')}`),
  );
  void defence.run((text) => held.get(text), lifetime.signal).catch(() => untilAborted(lifetime.signal));
  const announce = (mac: string, ...texts: readonly string[]): void => {
    heard.push(...texts.map((address) => ({ address, mac })));
    news.set();
  };
  const withdraw = (): void => {
    held = addressesOf();
  };
  return { clock, log, sent, announce, withdraw };
}

test('addresses that another machine announces together are announced again together; the log says it at growing intervals, and when it is over', async () => {
  const { clock, log, sent, announce } = makeRig();
  announce(other, ...mine.keys(), '192.0.2.10');
  await clock.advance(60_000);
  expect(sent).toEqual(['0: 192.0.2.8 192.0.2.9']);
  announce(other, '192.0.2.8');
  await clock.advance(60_000);
  expect(sent).toEqual(['0: 192.0.2.8 192.0.2.9', '60: 192.0.2.8']);
  for (let minute = 2; minute < 10; minute++) {
    announce(other, '192.0.2.8');
    await clock.advance(60_000);
  }
  const lines = () => log.lines.map(({ level, message }) => `${level} ${message}`);
  const failed = 'warn keeping addresses that another machine on the LAN announces failed; retrying';
  expect(lines()).toEqual(Array.from({ length: 5 }, () => failed)); // both, then one address after 1, 2, 4 and 8 minutes
  expect(log.lines[0]?.fields['err']).toBe(`${other} announces 192.0.2.8, 192.0.2.9`);
  await clock.advance(600_000);
  expect(lines().at(-1)).toBe('info keeping addresses that another machine on the LAN announces works again');
});

test('an address that another machine announces all the time is announced again each ten seconds, at last after it', async () => {
  const { clock, sent, announce } = makeRig();
  for (let second = 0; second <= 25; second++) {
    announce(other, '192.0.2.8');
    await clock.advance(1_000);
  }
  await clock.advance(600_000);
  expect(sent).toEqual([0, 10, 20, 30].map((second) => `${second}: 192.0.2.8`));
});

test('announcements of this host itself, from another interface on the same LAN, are ignored', async () => {
  const { clock, log, sent, announce } = makeRig();
  announce(own, ...mine.keys());
  await clock.advance(60_000);
  expect([sent, log.lines]).toEqual([[], []]);
});

test('addresses that this host has withdrawn meanwhile are not announced again, and the log does not call that a failure', async () => {
  const { clock, log, sent, announce, withdraw } = makeRig();
  announce(other, ...mine.keys());
  await clock.advance(100);
  withdraw();
  await clock.advance(600_000);
  expect([sent, log.lines]).toEqual([[], []]);
});
