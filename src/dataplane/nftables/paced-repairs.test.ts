import { expect, test } from 'vitest';
import { recordLog } from '../../../test/sim/observers.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import { makePacedRepairs } from './paced-repairs.ts';

const { signal } = new AbortController();

test('repairs in a row wait for growing times, and are logged rarely', async () => {
  const clock = virtualClock();
  const log = recordLog();
  const repaired = makePacedRepairs({ clock, log });
  const times: number[] = [];
  while (clock.monotonic() < 3_600_000) {
    times.push(clock.monotonic());
    await clock.drive(repaired('the table is gone', signal));
  }
  expect(times.slice(0, 5)).toEqual([0, 100, 300, 700, 1_500]);
  expect(times.length).toBeLessThan(3_600 / 5 + 10);
  expect(log.lines.length).toBeLessThan(12);
  expect(log.lines[0]?.fields).toEqual({ found: 'the table is gone', repairs: 1 });
});

test('after a calm minute a repair is the first again', async () => {
  const clock = virtualClock();
  const log = recordLog();
  const repaired = makePacedRepairs({ clock, log });
  for (let count = 0; count < 3; count++) await clock.drive(repaired('gone', signal));
  await clock.advance(60_000);
  const before = clock.monotonic();
  await clock.drive(repaired('gone', signal));
  expect(clock.monotonic() - before).toBe(100);
  expect(log.lines.map(({ fields }) => (fields as { repairs: number }).repairs)).toEqual([1, 2, 1]);
});
