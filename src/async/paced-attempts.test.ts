import { describe, expect, test } from 'vitest';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { makePacedAttempts, type PacedAttempts } from './paced-attempts.ts';

const { signal } = new AbortController();

function makeRig() {
  const clock = virtualClock();
  const log = recordLog();
  const attempts: number[] = [];
  let error: Error | undefined = new Error('no');
  const task: PacedAttempts = makePacedAttempts({
    what: 'tidying',
    work: async () => {
      attempts.push(clock.monotonic());
      if (error !== undefined) throw error;
    },
    retry: { firstMs: 100, mostMs: 400 },
    ring: () => void task.attempt(signal),
    clock,
    log,
    lifetime: signal,
  });
  return { clock, log, attempts, task, mend: () => (error = undefined) };
}

describe('work that fails', () => {
  test('is repeated after growing waits, also for other callers, and is logged once', async () => {
    const { clock, log, attempts, task } = makeRig();
    for (let time = 0; time < 3; time++) await task.attempt(signal);
    await clock.advance(1_600);
    await task.attempt(signal);
    expect(attempts).toEqual([0, 100, 300, 700, 1_100, 1_500]);
    expect([task.failure(), log.lines.map(({ message }) => message)]).toEqual(['no', ['tidying failed; retrying']]);
  });

  test('and succeeds is done at once again when it is asked for', async () => {
    const { clock, log, attempts, task, mend } = makeRig();
    await task.attempt(signal);
    mend();
    await clock.advance(100);
    await task.attempt(signal);
    expect([attempts, task.failure()]).toEqual([[0, 100, 100], undefined]);
    expect(log.lines.map(({ message }) => message)).toEqual(['tidying failed; retrying', 'tidying works again']);
  });
});

test('an aborted attempt rejects with the reason, and is not a failure', async () => {
  const { log, task } = makeRig();
  const aborted = AbortSignal.abort(new Error('shutting down'));
  await expect(task.attempt(aborted)).rejects.toThrow('shutting down');
  expect([task.failure(), log.lines]).toEqual([undefined, []]);
});
