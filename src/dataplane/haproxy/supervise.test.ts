import { expect, test } from 'vitest';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import { RuntimeError } from './errors.ts';
import { supervise, type Supervised } from './supervise.ts';

/** Runs `supervise` in virtual time, until `endMs`, over parts that say what they do in `story`. */
async function tell(
  parts: (story: (what: string) => void, now: () => number) => Partial<Supervised>,
  endMs: number,
): Promise<string[]> {
  const lines: string[] = [];
  const stop = new AbortController();
  let now = 0;
  const sleepers: { readonly at: number; readonly wake: () => void }[] = [];
  const clock: Clock = {
    now: () => now,
    monotonic: () => now,
    deadline: (_, signal) => ({ signal, [Symbol.dispose]: () => undefined }),
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        sleepers.push({ at: now + ms, wake: resolve });
        signal.addEventListener('abort', () => reject(signal.reason));
      }),
  };
  const note = (_: unknown, message: string): void => void lines.push(`${now} ${message}`);
  const log: Log = { debug: note, info: note, warn: note, error: note, child: () => log };
  const story = (what: string): void => void lines.push(`${now} ${what}`);
  const never = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      signal.addEventListener('abort', () => resolve());
    });
  const all: Supervised = {
    untilWorkerGoes: never,
    revive: () => Promise.resolve('serves'),
    round: () => Promise.resolve('idle'),
    tellUp: () => undefined,
    ...parts(story, () => now),
  };
  const running = supervise(all, { clock, log }, stop.signal);
  for (;;) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    const next = sleepers.sort((a, b) => a.at - b.at).shift();
    if (next === undefined || next.at > endMs) break;
    now = next.at;
    next.wake();
  }
  stop.abort(new Error('over'));
  await running;
  return lines;
}

test('a process that dies once is started at once', async () => {
  let deaths = 1;
  const lines = await tell(
    (story) => ({
      untilWorkerGoes: (signal) =>
        deaths-- > 0 ? Promise.resolve() : new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
      revive: () => {
        story('started');
        return Promise.resolve('started');
      },
    }),
    5000,
  );
  expect(lines).toEqual(['0 started']);
});

test('it is told when a process serves no more, and when one serves again', async () => {
  let deaths = 3;
  const lines = await tell(
    (story) => ({
      untilWorkerGoes: (signal) =>
        deaths > 0 ? Promise.resolve() : new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
      revive: () => {
        if (--deaths > 0) return Promise.reject(new Error('no such program'));
        return Promise.resolve('started');
      },
      tellUp: (isUp) => story(isUp ? 'up' : 'down'),
    }),
    900,
  );
  expect(lines.filter((line) => / (?:up|down)$/.test(line))).toEqual([
    '0 down',
    '0 down',
    '0 down',
    '0 down',
    '250 down',
    '250 up',
  ]);
});

test('a process that a change has brought back, while starting it had failed, is known at the next round', async () => {
  let deaths = 1;
  const lines = await tell(
    (story) => ({
      untilWorkerGoes: (signal) =>
        deaths-- > 0 ? Promise.resolve() : new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
      revive: () => Promise.reject(new Error('no such program')),
      round: () => Promise.resolve('serves'),
      tellUp: (isUp) => story(isUp ? 'up' : 'down'),
    }),
    1000,
  );
  expect(lines.at(-1)).toBe('1000 up');
});

test('a process that dies again and again is started with longer and longer pauses, up to five seconds', async () => {
  const lines = await tell(
    (story) => ({
      untilWorkerGoes: () => Promise.resolve(),
      revive: () => {
        story('started');
        return Promise.resolve('started');
      },
    }),
    25_000,
  );
  const times = lines.map((line) => Number(line.split(' ')[0]));
  expect(times.slice(1).map((time, index) => time - (times[index] ?? 0))).toEqual([
    0, 250, 500, 1000, 2000, 4000, 5000, 5000, 5000,
  ]);
});

test('one that cannot be started is said and tried again, with pauses', async () => {
  const lines = await tell(
    () => ({
      untilWorkerGoes: () => Promise.resolve(),
      revive: () => Promise.reject(new Error('refused')),
    }),
    800,
  );
  const message = 'HAProxy does not run, and could not be started';
  expect(lines).toEqual([`0 ${message}`, `0 ${message}`, `250 ${message}`, `750 ${message}`]);
});

test('a round each second; one that finds the process out of reach revives it, another failure is only said', async () => {
  let rounds = 0;
  const lines = await tell(
    (story) => ({
      round: () => {
        rounds++;
        story(`round ${rounds}`);
        if (rounds === 1) return Promise.reject(new RuntimeError('hangs'));
        return rounds === 2 ? Promise.reject(new Error('odd')) : Promise.resolve('serves');
      },
      revive: () => {
        story('revived');
        return Promise.resolve('serves');
      },
    }),
    3000,
  );
  expect(lines).toEqual([
    '1000 round 1',
    '1000 revived',
    '2000 round 2',
    '2000 a look at HAProxy failed',
    '3000 round 3',
  ]);
});

test('while none is wanted it waits, without spinning', async () => {
  let revivals = 0;
  await tell(
    () => ({
      untilWorkerGoes: () => Promise.resolve(),
      revive: () => {
        revivals++;
        return Promise.resolve('idle');
      },
    }),
    1000,
  );
  expect(revivals).toBeLessThanOrEqual(6);
});
