import { expect, test } from 'vitest';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { makePacedRepairs } from './paced-repairs.ts';

test('repairs in a row wait for growing times, and are logged rarely', async () => {
  const clock = virtualClock();
  const log = recordLog();
  const repaired = makePacedRepairs({ what: 'the table', clock, log });
  const times: number[] = [];
  while (clock.monotonic() < 3_600_000) {
    times.push(clock.monotonic());
    await clock.advance(repaired({ found: 'the table is gone' }));
  }
  expect(times.slice(0, 5)).toEqual([0, 100, 300, 700, 1_500]);
  expect(times.length).toBeLessThan(3_600 / 5 + 10);
  expect(log.lines.length).toBeLessThan(12);
  expect(log.lines[0]).toMatchObject({
    fields: { found: 'the table is gone', repairs: 1 },
    message: 'external change to the table detected and reverted',
  });
});

test('after a calm minute a repair is the first again', async () => {
  const clock = virtualClock();
  const log = recordLog();
  const repaired = makePacedRepairs({ what: 'the table', clock, log });
  for (let count = 0; count < 3; count++) await clock.advance(repaired({ found: 'gone' }));
  await clock.advance(60_000);
  expect(repaired({ found: 'gone' })).toBe(100);
  expect(log.lines.map(({ fields }) => (fields as { repairs: number }).repairs)).toEqual([1, 2, 1]);
});

test('cheap repairs wait half a second at most, and dear ones take a quarter of the time', () => {
  const clock = virtualClock();
  const repaired = makePacedRepairs({ what: 'the table', clock, log: recordLog() });
  const waits = Array.from({ length: 6 }, () => repaired({ found: 'gone' }, 20));
  expect(waits).toEqual([100, 200, 400, 500, 500, 500]);
  expect([repaired({ found: 'gone' }, 400), repaired({ found: 'gone' }, 2_000)]).toEqual([1_200, 5_000]);
});

test('a program that changes it again and again is shown in furiwake_failing until there has been a calm minute', async () => {
  const clock = virtualClock();
  const log = recordLog();
  const { signal } = new AbortController();
  const repaired = makePacedRepairs({ what: 'the table', clock, log, signal });
  for (let count = 0; count < 2; count++) await clock.advance(repaired({ found: 'gone' }));
  expect(log.failures.size).toBe(0);
  repaired({ found: 'gone' });
  expect([...log.failures]).toEqual([['reverting external changes to the table', 1]]);
  await clock.advance(50_000);
  repaired({ found: 'gone' });
  await clock.advance(59_000);
  expect(log.failures.size).toBe(1);
  await clock.advance(1_000);
  expect([log.failures.size, log.lines.at(-1)?.message]).toEqual([0, 'no external change to the table for 60 s']);
});
