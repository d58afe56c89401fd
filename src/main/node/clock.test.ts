import { clockContract } from '../../../test/contract/clock.ts';
import { fastClock, virtualClock } from '../../../test/sim/virtual-clock.ts';
import { systemClock } from './clock.ts';

clockContract('the machine', () => ({ clock: systemClock, early: 2, drive: (promise) => promise }));

clockContract('virtual time', () => {
  const clock = virtualClock();
  return { clock, early: 0, drive: (promise) => clock.drive(promise) };
});

clockContract('fast time', () => ({ clock: fastClock(4), early: 8, drive: (promise) => promise }));
