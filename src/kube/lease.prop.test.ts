import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { makeLeaseCluster } from '../../test/make/lease-cluster.ts';
import { makeLeaseHosts } from '../../test/make/lease-hosts.ts';
import { anyLeaseSchedule, boxes, playLeaseSchedule } from '../../test/make/lease-schedule.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';

const runs = Number(process.env['RUNS'] ?? 300);
vi.setConfig({ testTimeout: runs * 400 });

test('two hosts never hold the Lease at the same time: interruptions, restarts, jumps of the wall clock, a Lease deleted, emptied or restored', async () => {
  await fc.assert(
    fc.asyncProperty(anyLeaseSchedule, async (schedule) => {
      const clock = virtualClock();
      const cluster = makeLeaseCluster();
      const { start, holders, end } = makeLeaseHosts((identity) =>
        cluster.claimOf(identity, { clock, log: recordLog() }),
      );
      boxes.forEach(start);
      const check = (): void => expect(holders()).toBeLessThanOrEqual(1);
      await playLeaseSchedule(schedule, { cluster, clock, restart: start, check });
      expect(holders()).toBe(1);
      await end();
    }),
    { numRuns: runs },
  );
});
