import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { type Host, makeScene, startLeading } from '../../test/make/leading-hosts.ts';
import { anyLeaseSchedule, boxes, playLeaseSchedule } from '../../test/make/lease-schedule.ts';

const runs = Number(process.env['RUNS'] ?? 300);
vi.setConfig({ testTimeout: runs * 400 });

test('two hosts never serve at the same time, and in the end one does, whatever happens to the API server and to the Lease', async () => {
  await fc.assert(
    fc.asyncProperty(anyLeaseSchedule, async (schedule) => {
      const scene = makeScene();
      const hosts = new Map<string, Host>();
      const stops = new Map<string, AbortController>();
      const files: ReadonlyMap<string, Map<string, string>> = new Map(
        boxes.map((identity) => [identity, new Map<string, string>()]),
      );
      const start = (identity: string): void => {
        stops.get(identity)?.abort();
        const stop = new AbortController();
        const leftUntilMs = hosts.get(identity)?.endMs ?? -Infinity;
        stops.set(identity, stop);
        const options = {
          knowsOthers: true,
          files: files.get(identity) ?? new Map<string, string>(),
          leftUntilMs,
          stop,
        };
        hosts.set(identity, startLeading(scene, identity, options));
      };
      boxes.forEach(start);
      const serving = (): number => [...hosts.values()].filter(({ answers }) => answers).length;
      const check = (): void => expect(serving()).toBeLessThanOrEqual(1);
      await playLeaseSchedule(schedule, { ...scene, restart: start, check });
      expect(serving()).toBe(1);
      for (const stop of stops.values()) stop.abort();
      await Promise.allSettled([...hosts.values()].map(({ ended }) => ended));
    }),
    {
      numRuns: runs,
      examples: [
        // A host that takes an older Lease of its own again, and is cut off before it has it.
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
