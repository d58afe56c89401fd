import { expect, test } from 'vitest';
import { makeSerial } from './serial.ts';

test('work is done one at a time, in order, and a failure does not block the next', async () => {
  const serial = makeSerial();
  const steps: string[] = [];
  const first = serial(async () => {
    steps.push('first begins');
    await Promise.resolve();
    steps.push('first ends');
    return 1;
  });
  const second = serial(async () => {
    steps.push('second begins');
    throw new Error('broken');
  });
  const third = serial(() => Promise.resolve(steps.push('third')));
  await expect(second).rejects.toThrow('broken');
  expect(await first).toBe(1);
  await third;
  expect(steps).toEqual(['first begins', 'first ends', 'second begins', 'third']);
});
