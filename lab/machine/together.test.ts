import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { together } from './together.ts';

test('returns all results in order', async () => {
  expect(await together(new AbortController(), [sleep(2, 'slow'), Promise.resolve('quick')])).toEqual([
    'slow',
    'quick',
  ]);
});

test('the first failure stops the others, and is thrown when all have ended', async () => {
  const stop = new AbortController();
  let hasEnded = false;
  const endless = sleep(60_000, undefined, { signal: stop.signal }).catch(async () => {
    await sleep(2);
    hasEnded = true;
  });
  await expect(together(stop, [endless, Promise.reject(new Error('first'))])).rejects.toThrow('first');
  expect(hasEnded).toBe(true);
});
