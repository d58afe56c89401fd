import { expect, test } from 'vitest';
import { virtualClock } from '../../../../test/sim/virtual-clock.ts';
import { makeDrainLimits } from './drain-limits.ts';
import { drainMsOf } from '../config/spare-servers.ts';

test('a server that drains is overdue when its time is over, until its connections are ended; and again when it drains again', async () => {
  const clock = virtualClock();
  const limits = makeDrainLimits({ clock });
  const [one, two] = ['spare4-0/n1:30080:drain1000', 'spare4-0/n2:30080:proxy1.drain2000'];
  expect(limits.overdue([one])).toEqual([]);
  await clock.advance(999);
  expect(limits.overdue([one, two])).toEqual([]);
  await clock.advance(1);
  for (let round = 0; round < 2; round++) expect(limits.overdue([one, two])).toEqual([one]);
  limits.ended([one]);
  await clock.advance(1999);
  expect(limits.overdue([one, two])).toEqual([two]);
  expect(limits.overdue([])).toEqual([]);
  expect(limits.overdue([one])).toEqual([]);
  await clock.advance(1000);
  expect(limits.overdue([one])).toEqual([one]);
});

test.each([
  ['n1:30080:drain1000', 1000],
  ['n1:30080:proxy2.drain5000.check1-2-3', 5000],
  ['pod_fd44::1:7_8080:drain1000', 1000],
  ['n1', undefined],
  ['n1.drain1000', undefined],
  ['drain1000:30080:proxy1', undefined],
  ['pod_fd44::1:7_8080', undefined],
])('the time of the server %s is %j', (name, ms) => {
  expect(drainMsOf(name)).toBe(ms);
});
