import { expect, test } from 'vitest';
import { virtualClock } from '../../../../test/sim/virtual-clock.ts';
import { makeDrainLimits } from './drain-limits.ts';
import { drainMsOf } from '../config/spare-servers.ts';

test('a server that drains is overdue when its time is over, until its connections are ended; and again when it drains again', async () => {
  const clock = virtualClock();
  const all = makeDrainLimits({ clock });
  const limits = { ...all, overdue: (draining: readonly string[]) => all.overdue(draining, () => false) };
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

test('a server that only an old worker still has is overdue when its time is over, unless it is used again', async () => {
  const clock = virtualClock();
  const limits = makeDrainLimits({ clock });
  const [gone, back] = ['spare4-0/n1:30080:drain1000', 'spare4-0/n2:30080:drain1000'];
  const isLeft = (id: string): boolean => id === gone;
  limits.overdue([gone, back], isLeft);
  await clock.advance(500);
  expect(limits.overdue([], isLeft)).toEqual([]);
  await clock.advance(500);
  for (let round = 0; round < 2; round++) expect(limits.overdue([], isLeft)).toEqual([gone]);
  limits.ended([gone]);
  expect(limits.overdue([], isLeft)).toEqual([]);
});

test('while the servers are not known, the time of those that drain continues', async () => {
  const clock = virtualClock();
  const limits = makeDrainLimits({ clock });
  const id = 'spare4-0/n1:30080:drain1000';
  limits.overdue([id], () => false);
  await clock.advance(1000);
  expect(limits.overdue(undefined, () => false)).toEqual([]);
  expect(limits.overdue([id], () => false)).toEqual([id]);
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
