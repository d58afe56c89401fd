import { expect, test } from 'vitest';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { makeAuditPace } from './audit-pace.ts';

test('an audit that takes long is made for a five-thousandth of the time, and every hour whatever it takes', async () => {
  const clock = virtualClock();
  const pace = makeAuditPace(clock);
  for (const [tookMs, waitMs] of [
    [0, 0],
    [100, 0],
    [101, 505_000],
    [300, 1_500_000],
    [60_000, 3_600_000],
  ] as const) {
    expect(pace.isDue()).toBe(true);
    await pace.run(async () => clock.work(tookMs));
    await clock.advance(Math.max(0, waitMs - 1));
    expect([tookMs, pace.isDue()]).toEqual([tookMs, waitMs === 0]);
    await clock.advance(1);
  }
});

test('an audit that fails is due again at once, and the time before it does not count', async () => {
  const clock = virtualClock();
  const pace = makeAuditPace(clock);
  clock.work(1_000);
  const failing = pace.run(async () => {
    clock.work(1_000);
    throw new Error('no');
  });
  await expect(failing).rejects.toThrow('no');
  expect(pace.isDue()).toBe(true);
  await pace.run(async () => undefined);
  expect(pace.isDue()).toBe(true);
});
