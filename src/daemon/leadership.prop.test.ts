import fc from 'fast-check';
import { expect, test } from 'vitest';
import { makeScene, startLeading } from '../../test/make/leading-hosts.ts';
import { anyLeaseSchedule, boxes, playLeaseSchedule } from '../../test/make/lease-schedule.ts';

test('two hosts never serve at the same time, and in the end one does, whatever happens to the API server and to the Lease', async () => {
  await fc.assert(
    fc.asyncProperty(anyLeaseSchedule, async (schedule) => {
      const scene = makeScene();
      const hosts = boxes.map((identity) => startLeading(scene, identity, { knowsOthers: true }));
      const serving = (): number => hosts.filter(({ isServing }) => isServing).length;
      await playLeaseSchedule(schedule, { ...scene, check: () => expect(serving()).toBeLessThanOrEqual(1) });
      expect(serving()).toBe(1);
      scene.stop.abort();
      await Promise.allSettled(hosts.map(({ ended }) => ended));
    }),
    {
      numRuns: 300,
      // A host that takes an older Lease of its own again, and is cut off before it has it.
      examples: [
        [
          [
            { host: 'box-1', link: 'up', seconds: 4, wallClockMs: 0, act: 'saved' },
            { host: 'box-1', link: 'outrun', seconds: 5, wallClockMs: 0, act: 'restored' },
            { host: 'box-1', link: 'cut', seconds: 1, wallClockMs: 0, act: 'none' },
            { host: 'box-3', link: 'up', seconds: 25, wallClockMs: 0, act: 'none' },
          ],
        ],
      ],
    },
  );
});
