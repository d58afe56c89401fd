import { expect, test } from 'vitest';
import { affinityTimeout } from './affinity-timeouts.ts';

test.each([
  [1, 10],
  [10, 10],
  [11, 30],
  [500, 600],
  [10_800, 10_800],
  [10_801, 21_600],
  [86_400, 86_400],
])('a client with a timeout of %i s is kept for %i s', (seconds, kept) => {
  expect(affinityTimeout(seconds)).toBe(kept);
});
