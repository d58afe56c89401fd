import { expect, test } from 'vitest';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { makeDeadlines } from './deadlines.ts';

const lifetime = new AbortController();
const never = new AbortController().signal;

test('each aborts at its own time, with one timer for all of them', async () => {
  const clock = virtualClock();
  const deadlines = makeDeadlines({ clock, signal: lifetime.signal });
  const signals = [300, 100, 200].map((ms) => deadlines.open(ms, never).signal);
  const aborted = (): readonly boolean[] => signals.map((signal) => signal.aborted);
  expect(clock.sleepers).toBe(1);
  await clock.advance(100);
  expect(aborted()).toEqual([false, true, false]);
  expect(signals[1]?.reason).toMatchObject({ name: 'TimeoutError' });
  await clock.advance(100);
  expect(aborted()).toEqual([false, true, true]);
  await clock.advance(100);
  expect([aborted(), clock.sleepers]).toEqual([[true, true, true], 0]);
});

test('one that is disposed of never aborts', async () => {
  const clock = virtualClock();
  const outer = new AbortController();
  const deadline = makeDeadlines({ clock, signal: lifetime.signal }).open(100, outer.signal);
  deadline[Symbol.dispose]();
  await clock.advance(1_000);
  outer.abort();
  expect(deadline.signal.aborted).toBe(false);
});

test('one aborts with its outer signal, also when that has aborted before', () => {
  const deadlines = makeDeadlines({ clock: virtualClock(), signal: lifetime.signal });
  const outer = new AbortController();
  const early = deadlines.open(100, outer.signal);
  outer.abort(new Error('enough'));
  const late = deadlines.open(100, outer.signal);
  expect([early, late].map(({ signal }) => (signal.reason as Error).message)).toEqual(['enough', 'enough']);
});
