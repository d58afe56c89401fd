import { expect, test } from 'vitest';
import { listener } from '../../test/make/table.ts';
import { makeFlowWindows } from './recent-flows.ts';

const [dns, game] = [listener('192.0.2.8', 53, 0).key, listener('192.0.2.8', 27_015, 0).key];

/** The answers to readings of one listener: [second, total]. */
function answers(...readings: readonly (readonly [second: number, total: number])[]): readonly unknown[] {
  const windows = makeFlowWindows();
  return readings.map(([second, total]) => {
    const recent = windows.note(dns, total, second * 1000);
    return recent && `${recent.flows} in ${recent.seconds}`;
  });
}

test('flows are those since the first reading, for five minutes', () => {
  expect(answers([0, 7], [10, 9], [299, 20])).toEqual([undefined, '2 in 10', '13 in 299']);
});

test('after five minutes the window moves with the readings, which count a minute apart', () => {
  const minutes = [0, 1, 2, 3, 4, 5, 6, 7].map((minute) => [minute * 60, minute * 10] as const);
  expect(answers(...minutes).slice(4)).toEqual(['40 in 240', '50 in 300', '50 in 300', '50 in 300']);
});

test('without new flows there are none after five minutes, then those since', () => {
  const readings = [0, 7, 100, 9, 390, 9, 410, 9, 500, 12, 780, 12, 820, 12];
  const pairs = readings.flatMap((second, at) => (at % 2 === 0 ? [[second, readings[at + 1] ?? 0] as const] : []));
  const words = [undefined, '2 in 100', '2 in 300', '0 in 300', '3 in 300', '3 in 300', '0 in 300'];
  expect(answers(...pairs)).toEqual(words);
});

test('flows that may have begun before the last five minutes are not counted', () => {
  expect(answers([0, 7], [301, 90], [311, 95])).toEqual([undefined, undefined, '5 in 10']);
});

test('a listener that is counted from 0 again, or is forgotten, begins again', () => {
  expect(answers([0, 7], [10, 9], [20, 1], [30, 3])).toEqual([undefined, '2 in 10', undefined, '2 in 10']);
  const windows = makeFlowWindows();
  for (const key of [dns, game]) windows.note(key, 7, 0);
  windows.keep(new Set([dns]));
  expect([dns, game].map((key) => windows.note(key, 8, 10_000)?.flows)).toEqual([1, undefined]);
});
