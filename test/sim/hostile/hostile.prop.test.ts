import fc from 'fast-check';
import { expect, test } from 'vitest';
import { runHistory } from './history.ts';
import { anyHistory } from './steps.ts';

test('whatever users write, it concerns their Services alone, which say what is refused and leave nothing', async () => {
  await fc.assert(
    fc.asyncProperty(anyHistory, async (steps) => {
      for (const [what, left] of Object.entries(await runHistory(steps))) expect([what, left]).toEqual([what, 0]);
    }),
    { numRuns: 100, interruptAfterTimeLimit: 8_000, markInterruptAsFailure: false },
  );
});
