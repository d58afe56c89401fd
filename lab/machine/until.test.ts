import { expect, test } from 'vitest';
import { LabError } from '../errors.ts';
import { until } from './until.ts';

const { signal } = new AbortController();

test('polls until there is a result', async () => {
  let looks = 0;
  const found = await until('three', async () => ++looks === 3 && 'three', { signal, everyMs: 1 });
  expect([found, looks]).toEqual(['three', 3]);
});

test('reports the condition and the last failure', async () => {
  const refused = new Error('connection refused');
  const waiting = until('the API server', () => Promise.reject(refused), { signal, timeoutMs: 5, everyMs: 1 });
  await expect(waiting).rejects.toMatchObject({ code: 'TIMED_OUT', message: /the API server/, cause: refused });
});

test('a permanent failure ends the wait at once', async () => {
  const ended = new LabError('PART_ENDED', 'the API server has ended');
  await expect(until('the API server', () => Promise.reject(ended), { signal })).rejects.toBe(ended);
});

test('ends with the signal', async () => {
  const stop = new AbortController();
  const waiting = until('nothing', async () => undefined, { signal: stop.signal });
  stop.abort(new Error('interrupted'));
  await expect(waiting).rejects.toThrow('interrupted');
});
