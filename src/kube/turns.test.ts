import { expect, test } from 'vitest';
import { makeTurns } from './turns.ts';

const groupOf = (item: string): string => item.slice(0, 1);

test('groups take turns, each in its own order; an item is in it once', () => {
  const turns = makeTurns(groupOf);
  for (const item of ['a1', 'a2', 'a3', 'b1', 'a1', 'c1', 'b2']) turns.add(item);
  expect(turns.size()).toBe(6);
  expect(Array.from({ length: 7 }, () => turns.take())).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3', undefined]);
  expect(turns.size()).toBe(0);
});

test('a group that may not have a turn stays where it is', () => {
  const turns = makeTurns(groupOf);
  for (const item of ['a1', 'b1', 'b2']) turns.add(item);
  expect(turns.take((group) => group !== 'a')).toBe('b1');
  expect(turns.take(() => false)).toBeUndefined();
  expect([turns.take(), turns.take(), turns.take()]).toEqual(['a1', 'b2', undefined]);
});

test('the newest item of the largest group is taken', () => {
  const turns = makeTurns(groupOf);
  for (const item of ['a1', 'b1', 'b2', 'b3', 'c1']) turns.add(item);
  expect([turns.takeFromLargest(), turns.takeFromLargest(), turns.size()]).toEqual(['b3', 'b2', 3]);
  expect(makeTurns(groupOf).takeFromLargest()).toBeUndefined();
});
