import { expect, test } from 'vitest';
import { makeIds, makeLastingIds } from './ids.ts';

test.each([makeIds, makeLastingIds])('a name in use keeps its number, and no other name has it: %o', (make) => {
  const ids = make();
  const numbers = Array.from({ length: 1_000 }, (_, index) => ids.of(`n${index}`));
  expect(new Set(numbers).size).toBe(1_000);
  expect(ids.of('n7')).toBe(numbers[7]);
});

test('a name that was released gets another number', () => {
  const ids = makeIds();
  const before = ids.of('a');
  ids.release('a');
  expect(ids.of('a')).not.toBe(before);
});

test('a lasting number is the same again when its name is back, and another name may have it meanwhile', () => {
  const ids = makeLastingIds(1);
  expect(ids.of('a')).toBe(1);
  ids.release('a');
  expect(ids.of('b')).toBe(1);
  ids.release('b');
  expect(ids.of('a')).toBe(1);
});

test('after the greatest number come the least that are free', () => {
  const ids = makeIds(3);
  for (const name of ['a', 'b', 'c']) ids.of(name);
  ids.release('b');
  expect(ids.of('d')).toBe(2);
});

test('lasting numbers are the same in each process, whatever else has one', () => {
  const [one, other] = [makeLastingIds(), makeLastingIds()];
  other.of('c');
  expect([other.of('b'), other.of('a')]).toEqual([one.of('b'), one.of('a')]);
});

test('of names with the same hash each has a number of its own', () => {
  const ids = makeLastingIds(3);
  expect(new Set(['a', 'b', 'c'].map((name) => ids.of(name)))).toEqual(new Set([1, 2, 3]));
});
