import { expect, test } from 'vitest';
import { silent } from '../../../test/make/log.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import { guard } from './guard.ts';

/** Runs `guard` for so long; what it reacted to, with the time. */
async function reactions(watch: (round: number) => readonly string[], ms: number, fails = false): Promise<string[]> {
  const clock = virtualClock();
  const ending = new AbortController();
  const seen: string[] = [];
  let round = 0;
  const running = guard<string>({
    watch: async function* () {
      yield* watch(round++);
    },
    react: (event) => {
      seen.push(`${clock.monotonic()} ${event ?? 'again'}`);
      return fails ? Promise.reject(new Error('no')) : Promise.resolve();
    },
    clock,
    log: silent,
    signal: ending.signal,
  });
  await clock.advance(ms);
  ending.abort();
  await running;
  return seen;
}

test('reacts to every event', async () => {
  expect(await reactions((round) => (round === 0 ? ['a', 'b'] : []), 0)).toEqual(['0 a', '0 b']);
});

test('when the watching ends it looks itself and watches again, after ever longer pauses', async () => {
  expect(await reactions(() => [], 16_000)).toEqual(['1000 again', '3000 again', '7000 again', '15000 again']);
});

test('pauses for a second again after an event', async () => {
  expect(await reactions((round) => (round === 1 ? ['a'] : []), 3000)).toEqual(['1000 again', '1000 a', '2000 again']);
});

test('tries again when a reaction fails, and ends when told to', async () => {
  expect(await reactions(() => ['a'], 3000, true)).toEqual(['0 a', '1000 again', '3000 again']);
});
