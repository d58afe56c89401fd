import { expect, test } from 'vitest';
import { listener } from '../../test/make/table.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { Counters } from './counters.ts';
import { makeTrafficMeter } from './traffic.ts';

const { signal } = new AbortController();
const web = listener('192.0.2.8', 80, 30_000).key;
const mail = listener('192.0.2.8', 25, 30_001).key;
const none: Counters = {
  connections: 0,
  total: 0,
  bytesIn: 0,
  bytesOut: 0,
  packetsIn: undefined,
  packetsOut: undefined,
  refused: 0,
};

/** A meter on counters that the test sets, at times that it chooses. */
function makeScene(): {
  readonly counters: Map<typeof web, Counters>;
  readonly recentAt: (second: number, key: typeof web) => Promise<unknown>;
  readonly ratesAt: (second: number, keys?: readonly (typeof web)[]) => Promise<unknown>;
} {
  const counters = new Map([[web, none]]);
  const clock = virtualClock();
  let nowMs = 0;
  const meter = makeTrafficMeter({ read: async () => new Map(counters), clock: { ...clock, monotonic: () => nowMs } });
  return {
    counters,
    recentAt: async (second, key) => {
      nowMs = second * 1000;
      return (await meter(signal)).get(key)?.recent;
    },
    ratesAt: async (second, keys) => {
      nowMs = second * 1000;
      return (await meter(signal, keys)).get(web)?.rates;
    },
  };
}

test('rates are averages between readings ten seconds and more apart, and stay until the next pair', async () => {
  const { counters, ratesAt } = makeScene();
  expect(await ratesAt(0)).toBeUndefined();
  counters.set(web, { ...none, connections: 3, total: 20, bytesIn: 1_000, bytesOut: 10_000 });
  expect(await ratesAt(9)).toBeUndefined();
  expect(await ratesAt(10)).toEqual({ connections: 2, bytesIn: 100, bytesOut: 1_000 });
  counters.set(web, { ...none, connections: 3, total: 20, bytesIn: 5_000, bytesOut: 10_000 });
  expect(await ratesAt(12)).toEqual({ connections: 2, bytesIn: 100, bytesOut: 1_000 });
  expect(await ratesAt(20)).toEqual({ connections: 0, bytesIn: 400, bytesOut: 0 });
  expect(await ratesAt(80)).toEqual({ connections: 0, bytesIn: 0, bytesOut: 0 });
});

test('of direct only what the clients send has a rate', async () => {
  const { counters, ratesAt } = makeScene();
  const sent = { ...none, connections: undefined, bytesOut: undefined, packetsIn: 0 };
  counters.set(web, sent);
  await ratesAt(0);
  counters.set(web, { ...sent, total: 20, bytesIn: 500, packetsIn: 9 });
  expect(await ratesAt(10)).toEqual({ connections: 2, bytesIn: 50, bytesOut: undefined });
});

test('an old reading gives no rates', async () => {
  const { counters, ratesAt } = makeScene();
  await ratesAt(0);
  counters.set(web, { ...none, total: 1_000 });
  expect(await ratesAt(121)).toBeUndefined();
  expect(await ratesAt(131)).toMatchObject({ connections: 0 });
});

test.each(['total', 'bytesIn', 'bytesOut'] as const)('a new worker, with less in %s, gives no rates', async (name) => {
  const { counters, ratesAt } = makeScene();
  counters.set(web, { ...none, connections: 1, total: 9, bytesIn: 9, bytesOut: 9 });
  await ratesAt(0);
  counters.set(web, { ...none, connections: 1, total: 9, bytesIn: 9, bytesOut: 9, [name]: 8 });
  expect(await ratesAt(10)).toBeUndefined();
  expect(await ratesAt(20)).toEqual({ connections: 0, bytesIn: 0, bytesOut: 0 });
});

test('a reading of one listener leaves those of the others; one that is gone is forgotten', async () => {
  const { counters, ratesAt } = makeScene();
  await ratesAt(0);
  counters.delete(web);
  counters.set(mail, none);
  await ratesAt(5, [mail]);
  counters.set(web, { ...none, total: 10 });
  expect(await ratesAt(10)).toMatchObject({ connections: 1 });
  counters.delete(web);
  await ratesAt(15);
  counters.set(web, { ...none, total: 30 });
  expect(await ratesAt(25)).toBeUndefined();
});

test('flows that began in the last five minutes are those of listeners whose packets go past HAProxy', async () => {
  const { counters, recentAt } = makeScene();
  const sent = { ...none, connections: undefined, packetsIn: 5, total: 5 };
  counters.set(mail, sent);
  expect([await recentAt(0, web), await recentAt(9, mail)]).toEqual([undefined, undefined]);
  counters.set(mail, { ...sent, total: 9 });
  expect([await recentAt(20, web), await recentAt(20, mail)]).toEqual([undefined, { flows: 4, seconds: 20 }]);
  counters.delete(mail);
  await recentAt(30, web);
  counters.set(mail, { ...sent, total: 9 });
  expect(await recentAt(40, mail)).toBeUndefined(); // another one
});
