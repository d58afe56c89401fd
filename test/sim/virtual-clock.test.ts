import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { untilAborted } from '../../src/async/abort.ts';
import { makeSimApiServer } from './apiserver.ts';
import { makeHarness } from './harness.ts';
import { seededRandom, virtualClock } from './virtual-clock.ts';

const { signal } = new AbortController();

test('sleepers wake in the order of their times, and their work is part of the same advance', async () => {
  const clock = virtualClock();
  const woken: [string, number][] = [];
  const sleepTwice = async (name: string, ms: number): Promise<void> => {
    await clock.sleep(ms, signal);
    woken.push([name, clock.monotonic()]);
    await clock.sleep(ms, signal);
    woken.push([name, clock.monotonic()]);
  };
  void sleepTwice('slow', 30);
  void sleepTwice('fast', 20);
  await clock.advance(50);
  expect(woken).toEqual([
    ['fast', 20],
    ['slow', 30],
    ['fast', 40],
  ]);
  expect([clock.monotonic(), clock.now(), clock.sleepers]).toEqual([50, Date.UTC(2026, 0, 1) + 50, 1]);
});

test('an aborted sleep rejects with the reason and leaves no sleeper', async () => {
  const clock = virtualClock();
  const stop = new AbortController();
  const sleeping = clock.sleep(10, stop.signal);
  stop.abort(new Error('enough'));
  await expect(sleeping).rejects.toThrow('enough');
  await expect(clock.sleep(10, stop.signal)).rejects.toThrow('enough');
  expect(clock.sleepers).toBe(0);
});

test('a deadline aborts with a TimeoutError at its time, or with its signal before', async () => {
  const clock = virtualClock();
  const stop = new AbortController();
  const [short, long] = [clock.deadline(10, stop.signal), clock.deadline(1_000, stop.signal)];
  await clock.advance(10);
  expect([short.signal.aborted, (short.signal.reason as Error).name, long.signal.aborted]).toEqual([
    true,
    'TimeoutError',
    false,
  ]);
  stop.abort(new Error('enough'));
  expect((long.signal.reason as Error).message).toBe('enough');
});

test('drive advances time exactly as far as a promise needs', async () => {
  const clock = virtualClock();
  const work = async (): Promise<string> => {
    await clock.sleep(5_000, signal);
    await clock.sleep(7_000, signal);
    return 'done';
  };
  expect(await clock.drive(work())).toBe('done');
  expect(clock.monotonic()).toBe(12_000);
  await expect(clock.drive(Promise.reject(new Error('no')))).rejects.toThrow('no');
});

test('what a sleeper does in memory is part of the advance, however many turns of the event loop it takes', async () => {
  const clock = virtualClock();
  let doneAtMs = Number.NaN;
  const work = async (): Promise<void> => {
    await clock.sleep(10, signal);
    for (let turn = 0; turn < 100; turn += 1) await nextTurn();
    doneAtMs = clock.monotonic();
  };
  const other = clock.sleep(20, signal);
  void work();
  await clock.advance(1_000);
  await other;
  expect(doneAtMs).toBe(10);
});

test('a request to a server in this process is part of the advance, and the server keeps the time of the clock', async () => {
  const clock = virtualClock();
  await using server = makeSimApiServer({ seed: 1, clock });
  server.faults.next({ mishap: { answer: 429, retryAfterSeconds: 5 } });
  const harness = await makeHarness(server, { clock });
  const answer = harness.client.create('/api/v1/namespaces', { metadata: { name: 'web' } }, { signal });
  await clock.advance(4_999);
  expect(server.requests.map(({ status }) => status)).toEqual([429]);
  await clock.advance(1);
  expect(server.requests.map(({ status }) => status)).toEqual([429, 201]);
  const creationTimestamp = '2026-01-01T00:00:05Z';
  expect(await answer).toMatchObject({ metadata: { name: 'web', creationTimestamp } });
  await harness[Symbol.asyncDispose]();
});

test('two clocks advance at the same time, and neither waits for the other', async () => {
  const clocks = [virtualClock(), virtualClock()];
  await Promise.all(clocks.map((clock) => clock.drive(clock.sleep(1_000, signal))));
  expect(clocks.map((clock) => clock.monotonic())).toEqual([1_000, 1_000]);
});

test('a loop that does not wait fails the test instead of standing still', async () => {
  const clock = virtualClock();
  const stop = new AbortController();
  const spin = async (): Promise<void> => {
    for (;;) {
      using deadline = clock.deadline(0, stop.signal);
      await untilAborted(deadline.signal);
      stop.signal.throwIfAborted();
    }
  };
  const spinning = spin();
  await expect(clock.advance(1)).rejects.toThrow('a loop does not wait');
  stop.abort(new Error('enough'));
  await expect(spinning).rejects.toThrow('enough');
});

test('untilSleeping sees present and future sleepers', async () => {
  const clock = virtualClock();
  const waiting = clock.untilSleeping(100);
  void clock.sleep(50, signal);
  void clock.sleep(100, signal);
  await waiting;
  await clock.untilSleeping(100);
  expect(clock.sleepers).toBe(2);
});

test('the same seed gives the same numbers, all in [0, 1)', () => {
  const draw = (seed: number): number[] => Array.from({ length: 1_000 }, seededRandom(seed));
  expect(draw(7)).toEqual(draw(7));
  expect(draw(7)).not.toEqual(draw(8));
  expect(draw(7).every((value) => value >= 0 && value < 1)).toBe(true);
});
