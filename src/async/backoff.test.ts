import { expect, test } from 'vitest';
import { makeBackoff } from './backoff.ts';

test('doubles the wait up to the maximum and starts over after a success', () => {
  const backoff = makeBackoff({ firstMs: 100, mostMs: 1000 });
  expect(Array.from({ length: 6 }, () => backoff.next())).toEqual([100, 200, 400, 800, 1000, 1000]);
  backoff.reset();
  expect(backoff.next()).toBe(100);
});

test('stays at the maximum after any number of failures', () => {
  const backoff = makeBackoff({ firstMs: 1, mostMs: 60_000 });
  for (let count = 0; count < 5_000; count++) backoff.next();
  expect(backoff.next()).toBe(60_000);
});

test('adds up to half of the wait at random', () => {
  const backoff = makeBackoff({ firstMs: 100, mostMs: 1000, random: () => 0.5 });
  expect([backoff.next(), backoff.next()]).toEqual([125, 250]);
});
