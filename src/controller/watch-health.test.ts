import { expect, test } from 'vitest';
import { WatchError } from '../kube/watch-event.ts';
import { makeWatchHealth } from './watch-health.ts';

function rig(): {
  readonly health: ReturnType<typeof makeWatchHealth>;
  readonly fail: () => void;
  readonly pass: (ms: number) => void;
} {
  let atMs = 0;
  const health = makeWatchHealth(() => atMs);
  return {
    health,
    fail: () => health.note({ type: 'error', error: new WatchError('forbidden', 'no'), retryInMs: 1 }),
    pass: (ms) => (atMs += ms),
  };
}

test('a watch fails from its first error until an event arrives', () => {
  const { health, fail, pass } = rig();
  expect(health.failure()).toBeUndefined();
  fail();
  pass(4_000);
  fail();
  pass(1_000);
  expect(health.failure()).toEqual({ lastsMs: 5_000, words: 'no' });
  health.note({ type: 'init' });
  expect(health.failure()).toBeDefined();
  health.note({ type: 'bookmark' });
  expect(health.failure()).toBeUndefined();
});

test('an accepted watch works after ten seconds without an event; one that breaks before has failed all the time', () => {
  const { health, fail, pass } = rig();
  fail();
  for (let turn = 0; turn < 3; turn++) {
    health.noteAccepted();
    pass(5_000);
    fail();
  }
  expect(health.failure()?.lastsMs).toBe(15_000);
  health.noteAccepted();
  pass(10_000);
  expect(health.failure()).toBeUndefined();
  fail();
  expect(health.failure()?.lastsMs).toBe(0);
});
