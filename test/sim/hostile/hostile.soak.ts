import fc from 'fast-check';
import { expect, test } from 'vitest';
import { runHistory } from './history.ts';
import { anyHistory } from './steps.ts';

/*
 * `make soak`: `hostile.prop.test.ts` with very many Services. It prints its seed first: `make soak SEED=…` repeats it.
 */
const seed = Number(process.env['SEED'] || Date.now() % 2 ** 31);
const mostServices = Number(process.env['SERVICES'] || 100_000);
const sayEvery = 10_000;

test(`${mostServices} hostile Services, SEED=${seed}`, async () => {
  process.stdout.write(`SEED=${seed}\n`);
  let services = 0;
  await fc.assert(
    fc.asyncProperty(anyHistory, async (steps) => {
      if (services >= mostServices) return;
      const before = services;
      services += steps.filter(({ act }) => act === 'write').length;
      for (const [what, left] of Object.entries(await runHistory(steps))) expect([what, left]).toEqual([what, 0]);
      if (Math.floor(before / sayEvery) < Math.floor(services / sayEvery))
        process.stdout.write(`${services} Services\n`);
    }),
    { seed, numRuns: mostServices },
  );
  expect(services).toBeGreaterThanOrEqual(mostServices);
});
