import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { clockContract } from '../../../test/contract/clock.ts';
import { fastClock, virtualClock } from '../../../test/sim/virtual-clock.ts';
import { systemClock } from './clock.ts';

// The first test: Node warns once.
test('a wait that is already over ends at once, and Node prints no warning', async () => {
  const warnings: Error[] = [];
  const note = (warning: Error): void => void warnings.push(warning);
  process.on('warning', note);
  await systemClock.sleep(-5, new AbortController().signal);
  systemClock.deadline(-5, new AbortController().signal)[Symbol.dispose]();
  await setImmediate(); // Node warns in the next turn
  process.off('warning', note);
  expect(warnings).toEqual([]);
});

clockContract('the machine', () => ({ clock: systemClock, early: 2, drive: (promise) => promise }));

clockContract('virtual time', () => {
  const clock = virtualClock();
  return { clock, early: 0, drive: (promise) => clock.drive(promise) };
});

clockContract('fast time', () => ({ clock: fastClock(4), early: 8, drive: (promise) => promise }));
