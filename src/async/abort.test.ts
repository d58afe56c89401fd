import { setImmediate as breathe } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { unlessAborted } from './abort.ts';

test('an aborted signal wins over a result, and a failure that follows is not unhandled', async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  process.on('unhandledRejection', note);
  const signal = AbortSignal.abort(new Error('given up'));
  await expect(unlessAborted(Promise.resolve('done'), signal)).rejects.toThrow('given up');
  const late = Promise.withResolvers<string>();
  await expect(unlessAborted(late.promise, signal)).rejects.toThrow('given up');
  late.reject(new Error('too late'));
  await breathe();
  process.off('unhandledRejection', note);
  expect(unhandled).toEqual([]);
});
