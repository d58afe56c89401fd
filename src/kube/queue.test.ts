import { setImmediate } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { recordMetrics } from '../../test/sim/observers.ts';
import { virtualClock, type VirtualClock } from '../../test/sim/virtual-clock.ts';
import { makeQueue, type Queue, type Requeue } from './queue.ts';

/** The machine may be busy. */
const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 25_000, interval: 5 });

type Scene = {
  readonly queue: Queue<string>;
  readonly clock: VirtualClock;
  /** Runs that have begun: key and time. */
  readonly runs: readonly (readonly [string, number])[];
  readonly told: readonly (readonly [string, unknown, number])[];
  readonly stop: AbortController;
  readonly metrics: ReturnType<typeof recordMetrics>;
};

/** A queue that runs `work`, without jitter. */
function scene(
  work: (key: string, run: number, signal: AbortSignal) => Promise<Requeue>,
  {
    concurrency = 1,
    onError = () => undefined,
    clock = virtualClock(),
  }: { concurrency?: number; onError?: () => void; clock?: VirtualClock } = {},
): Scene {
  const stop = new AbortController();
  const metrics = recordMetrics();
  const counts = new Map<string, number>();
  const runs: [string, number][] = [];
  const told: [string, unknown, number][] = [];
  const queue = makeQueue<string>({
    name: 'test',
    concurrency,
    groupOf: (key) => /^(.*)\//.exec(key)?.[1] ?? '',
    clock,
    random: () => 0,
    metrics,
    signal: stop.signal,
    run: (key, signal) => {
      runs.push([key, clock.monotonic()]);
      counts.set(key, (counts.get(key) ?? 0) + 1);
      return work(key, counts.get(key) ?? 0, signal);
    },
    onError: (key, error, attempt) => {
      told.push([key, error, attempt]);
      onError();
    },
  });
  return { queue, clock, runs, told, stop, metrics };
}

const fine = async (): Promise<Requeue> => undefined;
const failing =
  (times: number, error: unknown = new Error('no')) =>
  async (_key: string, run: number): Promise<Requeue> => {
    if (run <= times) throw error;
    return undefined;
  };

test('lets other work through between the runs of many keys', async () => {
  const { queue, runs } = scene(fine);
  for (let index = 0; index < 1_000; index++) queue.add(String(index));
  for (let turn = 1; turn < 9; turn++) {
    await setImmediate();
    expect(runs.length).toBeLessThanOrEqual((turn + 1) * 100);
  }
  await until(() => expect(runs).toHaveLength(1_000));
});

test('runs that take long leave a turn of the event loop after ten milliseconds', async () => {
  let nowMs = 0;
  let most = 0;
  const { queue, runs } = scene(
    async () => {
      nowMs += 7;
      return undefined;
    },
    { clock: { ...virtualClock(), monotonic: () => nowMs } },
  );
  for (let index = 0; index < 20; index++) queue.add(String(index));
  for (let before = 0; runs.length < 20; before = runs.length) {
    await setImmediate();
    most = Math.max(most, runs.length - before);
  }
  expect(most).toBeLessThanOrEqual(4); // two turns of the queue
});

test('runs each key once, in order, however often it is added before', async () => {
  const { queue, clock, runs } = scene(fine);
  for (const key of ['first', 'a', 'b', 'a', 'c', 'b']) queue.add(key);
  await clock.advance(0);
  expect(runs.map(([key]) => key)).toEqual(['first', 'a', 'b', 'c']);
});

test('never runs a key twice at a time, and runs it once more if it was added meanwhile', async () => {
  const gate = Promise.withResolvers<undefined>();
  const { queue, clock, runs, metrics } = scene(async (_key, run) => (run === 1 ? gate.promise : undefined), {
    concurrency: 4,
  });
  queue.add('a');
  queue.add('a');
  queue.add('a');
  await clock.advance(0);
  expect([runs.length, metrics.gaugeOf('furiwake_queue_depth')]).toEqual([1, 1]);
  gate.resolve(undefined);
  await clock.advance(0);
  expect([runs.length, metrics.gaugeOf('furiwake_queue_depth')]).toEqual([2, 0]);
});

test('runs as many keys at a time as permitted', async () => {
  const gates = new Map<string, PromiseWithResolvers<undefined>>();
  const { queue, clock, runs, metrics } = scene(
    (key) => {
      const gate = Promise.withResolvers<undefined>();
      gates.set(key, gate);
      return gate.promise;
    },
    { concurrency: 2 },
  );
  for (const key of ['a', 'b', 'c']) queue.add(key);
  expect([runs.length, metrics.gaugeOf('furiwake_queue_depth')]).toEqual([2, 1]);
  gates.get('b')?.resolve(undefined);
  await clock.advance(0);
  expect(runs.map(([key]) => key)).toEqual(['a', 'b', 'c']);
});

test('repeats a failing key after 5 ms, 10 ms, … and starts over after a success', async () => {
  const { queue, clock, runs, told, metrics } = scene(async (_key, run) => {
    if (run !== 4) throw new Error('no');
    return undefined;
  });
  queue.add('a');
  await clock.advance(100);
  expect(runs.map(([, atMs]) => atMs)).toEqual([0, 5, 15, 35]);
  queue.add('a');
  await clock.advance(5);
  expect(told.map(([, , attempt]) => attempt)).toEqual([1, 2, 3, 1, 2]);
  expect(metrics.total('furiwake_reconcile_errors_total', { queue: 'test' })).toBe(5);
});

test('waits at most a minute', async () => {
  const { queue, clock, runs } = scene(failing(1_000));
  queue.add('a');
  await clock.advance(600_000);
  const gaps = runs.map(([, atMs], index) => atMs - (runs[index - 1]?.[1] ?? 0));
  expect(Math.max(...gaps)).toBe(60_000);
});

test('a key that is added runs at once, even while its backoff is pending', async () => {
  const { queue, clock, runs } = scene(failing(10));
  queue.add('a');
  await clock.advance(100);
  const before = runs.length;
  queue.add('a');
  expect(runs.length).toBe(before + 1);
});

test('a key in backoff delays no other', async () => {
  const { queue, clock, runs } = scene((key, run) => (key === 'bad' ? failing(99)(key, run) : fine()));
  queue.add('bad');
  queue.add('good');
  await clock.advance(0);
  expect(runs.map(([key]) => key)).toEqual(['bad', 'good']);
});

test('Retry-After is a lower bound', async () => {
  const { queue, clock, runs } = scene(failing(1, Object.assign(new Error('busy'), { retryAfterMs: 700 })));
  queue.add('a');
  await clock.advance(1_000);
  expect(runs.map(([, atMs]) => atMs)).toEqual([0, 700]);
});

test('a run can request a repetition, and a key that is added meanwhile runs at once instead', async () => {
  const { queue, clock, runs } = scene(async (_key, run) => (run === 1 ? { requeueAfterMs: 500 } : undefined));
  queue.add('a');
  queue.add('b');
  await clock.advance(200);
  queue.add('b');
  await clock.advance(2_000);
  expect(runs).toEqual([
    ['a', 0],
    ['b', 0],
    ['b', 200],
    ['a', 500],
  ]);
});

test('a key that was added during a run does not run again when the run requested it', async () => {
  const gate = Promise.withResolvers<Requeue>();
  const { queue, clock, runs } = scene(async (_key, run) => (run === 1 ? gate.promise : undefined));
  queue.add('a');
  queue.add('a');
  gate.resolve({ requeueAfterMs: 500 });
  await clock.advance(2_000);
  expect(runs).toHaveLength(2);
});

test('ten thousand keys in backoff need one timer', async () => {
  const { queue, clock, runs } = scene(failing(1), { concurrency: 100 });
  for (let index = 0; index < 10_000; index += 1) queue.add(`k${index}`);
  await clock.advance(4);
  expect(clock.sleepers).toBe(1);
  await clock.advance(100);
  expect(runs).toHaveLength(20_000);
});

test('an early key does not wait for one with a later time', async () => {
  const { queue, clock, runs } = scene(async (key, run) =>
    run === 1 ? { requeueAfterMs: key === 'late' ? 900 : 100 } : undefined,
  );
  for (const key of ['late', 'early']) queue.add(key);
  await clock.advance(1_000);
  expect(runs.slice(2)).toEqual([
    ['early', 100],
    ['late', 900],
  ]);
});

test('an onError that throws does no harm', async () => {
  const { queue, clock, runs } = scene(failing(1), {
    onError: () => {
      throw new Error('teller');
    },
  });
  queue.add('a');
  await clock.advance(100);
  expect(runs).toHaveLength(2);
});

test('after the abort no run starts, and drained resolves when the last run has ended', async () => {
  const gate = Promise.withResolvers<undefined>();
  const { queue, clock, runs, stop } = scene(() => gate.promise);
  let isDrained = false;
  void queue.drained.then(() => (isDrained = true));
  queue.add('a');
  queue.add('b');
  stop.abort();
  await clock.advance(10);
  expect([isDrained, runs.length]).toEqual([false, 1]);
  gate.reject(new Error('aborted'));
  await clock.advance(1_000_000);
  expect([isDrained, runs.length, clock.sleepers]).toEqual([true, 1, 0]);
});

test('is drained at once if no run is active', async () => {
  const { queue, stop } = scene(fine);
  stop.abort();
  expect(await queue.drained).toBeUndefined();
});

test('a group whose runs never end leaves places to the others: each takes at most as many as it leaves', async () => {
  const { queue, runs, clock } = scene((key) => (key.startsWith('fine/') ? fine() : new Promise(() => undefined)), {
    concurrency: 8,
  });
  const running = (group: string): number => runs.filter(([key]) => key.startsWith(`${group}/`)).length;
  for (const group of ['a', 'b']) for (let index = 0; index < 100; index++) queue.add(`${group}/${index}`);
  await clock.advance(0);
  expect([running('a'), running('b')]).toEqual([8, 4]);
  for (let index = 0; index < 100; index++) queue.add(`fine/${index}`);
  await until(() => expect(running('fine')).toBe(100));
});

test('the groups take turns: one with a thousand keys does not hold up another', async () => {
  const { queue, runs } = scene(fine);
  for (let index = 0; index < 1_000; index++) queue.add(`many/${index}`);
  queue.add('one/0');
  await until(() => expect(runs.map(([key]) => key)).toContain('one/0'));
  expect(runs.length).toBeLessThan(1_000);
  await until(() => expect(runs).toHaveLength(1_001));
});
