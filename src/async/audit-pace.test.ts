import { expect, test } from 'vitest';
import { type VirtualClock, virtualClock } from '../../test/sim/virtual-clock.ts';
import { type AuditPace, makeAuditPace } from './audit-pace.ts';

async function take(pace: AuditPace, clock: VirtualClock, ...times: readonly number[]): Promise<void> {
  for (const tookMs of times) await pace.run(async () => clock.work(tookMs));
}

test.each([
  [0, 0],
  [30, 0],
  [31, 155_000],
  [300, 1_500_000],
  [60_000, 3_600_000],
])('audits that take %d ms are %d ms apart', async (tookMs, waitMs) => {
  const clock = virtualClock();
  const pace = makeAuditPace(clock);
  await take(pace, clock, tookMs, tookMs, tookMs);
  await clock.advance(Math.max(0, waitMs - 1));
  expect(pace.isDue()).toBe(waitMs === 0);
  await clock.advance(1);
  expect(pace.isDue()).toBe(true);
});

test('an audit beside other work of the process delays none', async () => {
  const clock = virtualClock();
  const pace = makeAuditPace(clock);
  for (const tookMs of [500, 500, 20, 400, 400, 20, 400]) {
    await take(pace, clock, tookMs);
    expect(pace.isDue()).toBe(true);
  }
  await take(pace, clock, 400, 300);
  expect(pace.isDue()).toBe(false);
  await clock.advance(1_500_000);
  expect(pace.isDue()).toBe(true);
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
