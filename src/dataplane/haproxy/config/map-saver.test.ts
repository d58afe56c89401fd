import { expect, test } from 'vitest';
import { recordLog } from '../../../../test/sim/observers.ts';
import { virtualClock } from '../../../../test/sim/virtual-clock.ts';
import type { Desired } from './desired.ts';
import { makeMapSaver } from './map-saver.ts';

test('each failure doubles the wait for the next attempt, up to a minute; a success ends that', async () => {
  const clock = virtualClock();
  const log = recordLog();
  let isDiskFull = true;
  const save = async (): Promise<void> => {
    if (isDiskFull) throw new Error('ENOSPC: no space left on device, write');
  };
  const saver = makeMapSaver({ haproxyFiles: { save }, clock, log });
  const desired = {} as Desired;
  const fail = async (): Promise<number> => {
    await saver.save(desired);
    const failedMs = clock.monotonic();
    while (!saver.isDue()) await clock.advance(100);
    return clock.monotonic() - failedMs;
  };
  expect(saver.isDue()).toBe(true);
  const waits: number[] = [];
  for (let time = 0; time < 8; time++) waits.push(await fail());
  expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  isDiskFull = false;
  expect(await fail()).toBe(0);
  const messages = log.lines.map(({ message }) => message);
  expect([messages[0], messages.at(-1)]).toEqual([
    'writing the map file failed; retrying',
    'writing the map file works again',
  ]);
  isDiskFull = true;
  expect(await fail()).toBe(1000);
});

test('a file that takes long to write is written for a tenth of the time', async () => {
  const clock = virtualClock();
  const saver = makeMapSaver({ haproxyFiles: { save: () => clock.advance(200) }, clock, log: recordLog() });
  await saver.save({} as Desired);
  const dues: boolean[] = [];
  for (const ms of [1_700, 100]) {
    await clock.advance(ms);
    dues.push(saver.isDue());
  }
  expect(dues).toEqual([false, true]);
});
