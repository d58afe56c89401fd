import { expect, test } from 'vitest';
import { makeMachineRig, serve } from '../../../test/make/haproxy-rig.ts';
import { listener, node, tableOf } from '../../../test/make/table.ts';

const table = tableOf([listener('192.0.2.51', 80, 30_080)], [node('n1', '192.0.2.11')]);

test('a HAProxy that dies is started at once, and a second time', async () => {
  const rig = makeMachineRig();
  const { machine, proxy, clock, log } = rig;
  const stop = new AbortController();
  const parts = Promise.allSettled([proxy.run(stop.signal), serve(rig, () => table, stop.signal)]);
  await clock.advance(20_000);
  for (let death = 1; death <= 2; death++) {
    machine.die();
    await clock.advance(0);
    expect(machine.held?.map.size).toBe(1);
  }
  expect(log.lines.filter(({ level }) => level === 'warn')).toMatchObject([
    {
      message: 'keeping HAProxy running failed; retrying',
      fields: { err: new Error('HAProxy exited unexpectedly and was restarted; its connections were lost') },
    },
  ]);
  stop.abort();
  await parts;
});

test('a HAProxy that dies each minute is started at once each time, and reported at growing intervals', async () => {
  const rig = makeMachineRig();
  const { machine, proxy, clock, log } = rig;
  const stop = new AbortController();
  const parts = Promise.allSettled([proxy.run(stop.signal), serve(rig, () => table, stop.signal)]);
  for (let death = 1; death <= 10; death++) {
    await clock.advance(60_000);
    machine.die();
    await clock.advance(0);
    expect(machine.held?.map.size).toBe(1);
  }
  const messages = (): readonly string[] => log.lines.map(({ message }) => message);
  expect(messages().filter((each) => each === 'keeping HAProxy running failed; retrying')).toHaveLength(4);
  await clock.advance(601_000);
  expect(messages().at(-1)).toBe('keeping HAProxy running works again');
  stop.abort();
  await parts;
});

test('a HAProxy that dies twelve seconds after each start is started after growing waits, and reported at growing intervals', async () => {
  const rig = makeMachineRig();
  const { machine, proxy, clock, log } = rig;
  const stop = new AbortController();
  const parts = Promise.allSettled([proxy.run(stop.signal), serve(rig, () => table, stop.signal)]);
  await clock.advance(20_000);
  const outages = new Set<string | undefined>();
  const waits: number[] = [];
  const lines = log.lines.length;
  for (let death = 1; death <= 20; death++) {
    machine.die();
    const diedMs = clock.monotonic();
    while (machine.held === undefined) await clock.advance(50);
    waits.push(clock.monotonic() - diedMs);
    await clock.advance(12_000);
    if (death > 10) outages.add(proxy.outage());
  }
  expect(waits.slice(0, 2).every((ms) => ms <= 50)).toBe(true);
  expect(Math.min(...waits.slice(10))).toBeGreaterThan(8_000);
  expect(Math.max(...waits)).toBeLessThan(16_000);
  expect(log.lines.slice(lines).filter(({ level }) => level !== 'debug').length).toBeLessThanOrEqual(16);
  expect([...outages]).toEqual([expect.any(String)]);
  await clock.advance(60_000);
  expect(proxy.outage()).toBeUndefined();
  stop.abort();
  await parts;
});
