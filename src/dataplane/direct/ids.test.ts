import { expect, test } from 'vitest';
import { makeIds } from './ids.ts';

test('a name in use keeps its number, and no other name has it', () => {
  const ids = makeIds();
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

test('after the greatest number come the least that are free', () => {
  const ids = makeIds(3);
  for (const name of ['a', 'b', 'c']) ids.of(name);
  ids.release('b');
  expect(ids.of('d')).toBe(2);
});
