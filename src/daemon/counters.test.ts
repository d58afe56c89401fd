import { expect, test } from 'vitest';
import { listener } from '../../test/make/table.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { answerMs } from './ask.ts';
import { makeCounters } from './counters.ts';

const { signal } = new AbortController();
const web = listener('192.0.2.8', 80, 30_000).key;
const dns = listener('192.0.2.8', 53, 0, { protocol: 'UDP' }).key;
const game = listener('192.0.2.8', 27_015, 0, { protocol: 'UDP' }).key;
const proxied = { connections: 2, total: 5, bytesIn: 100, bytesOut: 1_000, refused: 1 };
const translated = { flows: 3, packetsIn: 8, bytesIn: 300, packetsOut: 6, bytesOut: 600, refused: 2 };
const sent = { flows: 7, packets: 30, bytes: 900, refused: 3 };

const noAnswer = async (): Promise<never> => Promise.reject(new Error('does not answer'));
const clock = virtualClock();
const ports = {
  clock,
  proxy: { counters: async () => new Map([[web, proxied]]) },
  steering: { refused: async () => new Map([[web, 4]]) },
  direct: { counters: async () => new Map([[dns, sent]]) },
  nat: { counters: async () => new Map([[game, translated]]) },
};

test('each listener has what its dataplane counts', async () => {
  expect(await makeCounters(ports)(signal)).toEqual(
    new Map([
      [web, { ...proxied, packetsIn: undefined, packetsOut: undefined, refused: 5 }],
      [
        dns,
        {
          connections: undefined,
          total: 7,
          bytesIn: 900,
          bytesOut: undefined,
          packetsIn: 30,
          packetsOut: undefined,
          refused: 3,
        },
      ],
      [
        game,
        { connections: undefined, total: 3, bytesIn: 300, bytesOut: 600, packetsIn: 8, packetsOut: 6, refused: 2 },
      ],
    ]),
  );
});

test('a listener that two dataplanes serve has the sum', async () => {
  const none = { counters: async () => new Map() };
  const both = makeCounters({ ...ports, direct: { counters: async () => new Map([[web, sent]]) }, nat: none });
  expect(await both(signal)).toEqual(
    new Map([
      [
        web,
        {
          connections: 2,
          total: 12,
          bytesIn: 1_000,
          bytesOut: 1_000,
          packetsIn: 30,
          packetsOut: undefined,
          refused: 8,
        },
      ],
    ]),
  );
});

test('a listener of direct for which nat stands in has the sum', async () => {
  const both = makeCounters({ ...ports, nat: { counters: async () => new Map([[dns, translated]]) } });
  expect((await both(signal)).get(dns)).toEqual({
    connections: undefined,
    total: 10,
    bytesIn: 1_200,
    bytesOut: 600,
    packetsIn: 38,
    packetsOut: 6,
    refused: 5,
  });
});

test('a dataplane that does not answer keeps none of the others from being shown', async () => {
  const keysWithout = async (part: Partial<typeof ports>): Promise<unknown> => [
    ...(await makeCounters({ ...ports, ...part })(signal)).keys(),
  ];
  expect(await keysWithout({ proxy: { counters: noAnswer } })).toEqual([dns, game]);
  expect(await keysWithout({ direct: { counters: noAnswer } })).toEqual([web, game]);
  expect(await keysWithout({ nat: { counters: noAnswer } })).toEqual([web, dns]);
  expect(await keysWithout({ steering: { refused: noAnswer } })).toEqual([web, dns, game]);
});

test('a dataplane whose tool hangs delays the others by three seconds', async () => {
  const hanging = { counters: () => new Promise<never>(() => undefined) };
  const beginMs = clock.monotonic();
  const counters = await clock.drive(makeCounters({ ...ports, direct: hanging, nat: hanging })(signal));
  expect([[...counters.keys()], clock.monotonic() - beginMs]).toEqual([[web], answerMs]);
});
