import { expect, test } from 'vitest';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { makeEndpointsCurrent } from './endpoints-current.ts';

const failing = { lastsMs: 1, words: 'forbidden' };

/** The watches of both kinds fail, or not; `answers` is what was said, with the time. */
function makeRig() {
  const clock = virtualClock();
  const watches = { endpointslices: true, services: false, isAccepted: false };
  const answers: [number, boolean][] = [];
  const noteError = makeEndpointsCurrent({
    health: {
      endpointslices: {
        failure: () => (watches.endpointslices ? failing : undefined),
        isAccepted: () => watches.isAccepted,
      },
      services: { failure: () => (watches.services ? failing : undefined), isAccepted: () => !watches.services },
    },
    setCurrent: (areCurrent) => {
      if (areCurrent !== (answers.at(-1)?.[1] ?? true)) answers.push([clock.monotonic(), areCurrent]);
    },
    clock,
  });
  return { clock, watches, answers, noteError };
}

test('endpoints are outdated when their watch has failed alone for 5 seconds, until it works; then another error begins again', async () => {
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
  await clock.advance(6_000);
  expect(answers).toEqual([
    [5_000, false],
    [51_000, true],
    [115_000, false],
  ]);
});

test('while the whole API server is away the endpoints are as they were, and after it only the time alone counts', async () => {
  const { clock, watches, answers, noteError } = makeRig();
  watches.services = true;
  noteError(new AbortController().signal);
  await clock.advance(600_000);
  expect(answers).toEqual([]);
  watches.services = false;
  await clock.advance(4_000);
  expect(answers).toEqual([]);
  await clock.advance(1_000);
  expect(answers).toEqual([[605_000, false]]);
});

test('a watch that was accepted is waited for, as after a restart of the API server; once outdated, until it works', async () => {
  const { clock, watches, answers, noteError } = makeRig();
  noteError(new AbortController().signal);
  await clock.advance(3_000);
  watches.isAccepted = true;
  await clock.advance(10_000);
  expect(answers).toEqual([]);
  watches.isAccepted = false;
  await clock.advance(2_000);
  watches.isAccepted = true;
  await clock.advance(9_000);
  watches.endpointslices = false;
  await clock.advance(1_000);
  expect(answers).toEqual([
    [15_000, false],
    [25_000, true],
  ]);
});

test('nothing is judged after the end', async () => {
  const { clock, answers, noteError } = makeRig();
  const stop = new AbortController();
  noteError(stop.signal);
  await clock.advance(4_000);
  stop.abort();
  await clock.advance(60_000);
  expect(answers).toEqual([]);
});

test('endpoints are those of now when their watch works again between two looks of one judgement', async () => {
  const clock = virtualClock();
  const answers: boolean[] = [];
  let asked = 0;
  const isProven = (): boolean => clock.monotonic() >= 20_000 && asked++ > 0;
  const noteError = makeEndpointsCurrent({
    health: {
      endpointslices: {
        failure: () => (isProven() ? undefined : failing),
        isAccepted: () => clock.monotonic() >= 20_000,
      },
      services: { failure: () => undefined, isAccepted: () => true },
    },
    setCurrent: (areCurrent) => answers.push(areCurrent),
    clock,
  });
  noteError(new AbortController().signal);
  await clock.advance(60_000);
  expect([answers.includes(false), answers.at(-1)]).toEqual([true, true]);
});
