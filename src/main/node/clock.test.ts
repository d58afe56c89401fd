import { clockContract } from '../../../test/contract/clock.ts';
import { fastClock, virtualClock } from '../../../test/sim/virtual-clock.ts';
import { systemClock } from './clock.ts';

clockContract('the machine', () => ({ clock: systemClock, drive: (promise) => promise }));

clockContract('virtual time', () => {
  const clock = virtualClock();
  return { clock, drive: (promise) => clock.drive(promise) };
});

clockContract('fast time', () => ({ clock: fastClock(4), drive: (promise) => promise }));
