import { expect, test } from 'vitest';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { keepWatching } from './keep-watching.ts';
import { untilAborted } from './abort.ts';

type Watched = { readonly seen: readonly string[]; readonly logged: readonly string[] };

/** Watches for this long; returns the reactions and the log lines, each with the time in seconds. */
async function outcome(
  watch: (round: number, sleep: (ms: number) => Promise<void>) => AsyncIterable<string>,
  ms: number,
  react: (event: string) => void = () => undefined,
): Promise<Watched> {
  const clock = virtualClock();
  const ending = new AbortController();
  const seen: string[] = [];
  const logged: string[] = [];
  const log = recordLog();
  const now = (): number => clock.monotonic() / 1000;
  let round = 0;
  const running = keepWatching<string>({
    what: 'watching',
    watch: () => watch(round++, (forMs) => clock.sleep(forMs, ending.signal)),
    react: (event) => {
      seen.push(`${now()} ${event}`);
      react(event);
    },
    clock,
    log: {
      ...log,
      warn: (_, words) => void logged.push(`${now()} ${words}`),
      info: ({ seconds }, words) => void logged.push(`${now()} ${words} after ${String(seconds)} s`),
    },
    signal: ending.signal,
  });
  await clock.advance(ms);
  ending.abort();
  await running;
  return { seen, logged };
}

test('reacts to every event', async () => {
  const { seen } = await outcome(async function* (round) {
    if (round === 0) yield* ['a', 'b'];
  }, 0);
  expect(seen).toEqual(['0 a', '0 b']);
});

test('a watch that prints a line and dies is restarted and logged at growing intervals', async () => {
  const { seen, logged } = await outcome(async function* () {
    yield 'unsure';
  }, 300_000);
  expect(seen).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183, 243].map((second) => `${second} unsure`));
  expect(logged).toEqual([
    '0 watching failed; retrying',
    '63 watching failed; retrying',
    '183 watching failed; retrying',
  ]);
});

test('a watch that has lasted for a minute works: this is logged, and the waits are short again', async () => {
  const { seen, logged } = await outcome(async function* (round, sleep) {
    yield `round ${round}`;
    if (round === 2) await sleep(100_000);
  }, 105_000);
  expect(seen).toEqual(['0 round 0', '1 round 1', '3 round 2', '104 round 3']);
  expect(logged).toEqual([
    '0 watching failed; retrying',
    '63 watching works again after 3 s',
    '103 watching failed; retrying',
  ]);
});

test('a failing reaction restarts the watch after growing waits', async () => {
  const { seen } = await outcome(
    async function* () {
      yield* ['a', 'b'];
    },
    3000,
    () => {
      throw new Error('no');
    },
  );
  expect(seen).toEqual(['0 a', '1 a', '3 a']);
});

test('a watch that ends by itself is logged without a stack trace', async () => {
  const clock = virtualClock();
  const log = recordLog();
  const stop = new AbortController();
  const running = keepWatching({
    what: 'watching',
    watch: async function* () {
      yield 'a';
    },
    react: () => undefined,
    clock,
    log,
    signal: stop.signal,
  });
  await clock.advance(0);
  stop.abort();
  await clock.drive(running);
  expect(log.lines).toEqual([
    { level: 'warn', fields: { err: 'the watch ended' }, message: 'watching failed; retrying' }, // an Error has a stack
  ]);
});

test('a watch that ends because of the signal is not logged', async () => {
  const clock = virtualClock();
  const log = recordLog();
  const stop = new AbortController();
  const running = keepWatching({
    what: 'watching',
    watch: async function* () {
      yield 'a';
      await untilAborted(stop.signal);
    },
    react: () => undefined,
    clock,
    log,
    signal: stop.signal,
  });
  await clock.advance(1_000);
  stop.abort();
  await clock.drive(running);
  expect(log.lines).toEqual([]);
});

test('a watch that ends with the signal is not restarted', async () => {
  const { seen, logged } = await outcome(async function* (_, sleep) {
    yield 'a';
    await sleep(1_000_000);
  }, 10_000);
  expect([seen, logged]).toEqual([['0 a'], []]);
});
