import { expect, test } from 'vitest';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { makeEndpointsCurrent } from './endpoints-current.ts';

const failing = { lastsMs: 1, words: 'forbidden' };

/** The watches of both kinds fail, or not; `answers` is what was said, with the time. */
function makeRig() {
  const clock = virtualClock();
  const watches = { endpointslices: true, services: false };
  const answers: [number, boolean][] = [];
  const noteError = makeEndpointsCurrent({
    health: {
      endpointslices: { failure: () => (watches.endpointslices ? failing : undefined) },
      services: { failure: () => (watches.services ? failing : undefined) },
    },
    setCurrent: (areCurrent) => {
      if (areCurrent !== (answers.at(-1)?.[1] ?? true)) answers.push([clock.monotonic(), areCurrent]);
    },
    clock,
  });
  return { clock, watches, answers, noteError };
}

test('endpoints are outdated when their watch has failed alone for 20 seconds, until it works; then another error begins again', async () => {
  const { clock, watches, answers, noteError } = makeRig();
  const { signal } = new AbortController();
  for (let error = 0; error < 5; error++) {
    noteError(signal);
    await clock.advance(10_000);
  }
  watches.endpointslices = false;
  await clock.advance(60_000);
  watches.endpointslices = true;
  noteError(signal);
  await clock.advance(21_000);
  expect(answers).toEqual([
    [20_000, false],
    [55_000, true],
    [130_000, false],
  ]);
});

test('while the whole API server is away the endpoints are as they were, and after it only the time alone counts', async () => {
  const { clock, watches, answers, noteError } = makeRig();
  watches.services = true;
  noteError(new AbortController().signal);
  await clock.advance(600_000);
  expect(answers).toEqual([]);
  watches.services = false;
  await clock.advance(15_000);
  expect(answers).toEqual([]);
  await clock.advance(5_000);
  expect(answers).toEqual([[620_000, false]]);
});

test('nothing is judged after the end', async () => {
  const { clock, answers, noteError } = makeRig();
  const stop = new AbortController();
  noteError(stop.signal);
  await clock.advance(10_000);
  stop.abort();
  await clock.advance(60_000);
  expect(answers).toEqual([]);
});
