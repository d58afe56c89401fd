import { expect, test } from 'vitest';
import { median, quantile } from './statistics.ts';

test.each([
  { name: 'one value is every quantile', values: [7], q: 0.99, expected: 7 },
  { name: 'the 99th of a hundred, in any order', values: hundred().toReversed(), q: 0.99, expected: 99 },
  { name: 'the greatest is the last quantile', values: hundred(), q: 1, expected: 100 },
  { name: 'the least is the first quantile', values: hundred(), q: 0, expected: 1 },
])('$name', ({ values, q, expected }) => {
  expect(quantile(values, q)).toBe(expected);
});

test('the median of an even number of values is the mean of the middle two', () => {
  expect(median([4, 1, 3, 2])).toBe(2.5);
});

test('the median of an odd number of values is the middle one', () => {
  expect(median([30, 1, 2])).toBe(2);
});

test('without values there is no result', () => {
  expect(() => median([])).toThrow(RangeError);
});

function hundred(): number[] {
  return Array.from({ length: 100 }, (_, index) => index + 1);
}
