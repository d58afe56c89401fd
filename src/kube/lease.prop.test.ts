import fc from 'fast-check';
import { expect, test } from 'vitest';
import { makeLeaseCluster } from '../../test/make/lease-cluster.ts';
import { anyLeaseSchedule, boxes, playLeaseSchedule } from '../../test/make/lease-schedule.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';

test('two hosts never hold the Lease at the same time: interruptions, jumps of the wall clock, a Lease deleted, emptied or restored', async () => {
  await fc.assert(
    fc.asyncProperty(anyLeaseSchedule, async (schedule) => {
      const clock = virtualClock();
      const cluster = makeLeaseCluster();
      const hosts = boxes.map((identity) => cluster.claimOf(identity, { clock, log: recordLog() }));
      const holders = (): number => hosts.filter((lease) => lease.isHolder()).length;
      const stop = new AbortController();
      const running = hosts.map(async (lease) => {
        while (!stop.signal.aborted) {
          await lease.acquire(stop.signal);
          await lease.hold(stop.signal);
        }
      });
      const check = (): void => expect(holders()).toBeLessThanOrEqual(1);
      await playLeaseSchedule(schedule, { cluster, clock, check });
      expect(holders()).toBe(1);
      stop.abort();
      await Promise.allSettled(running);
    }),
    { numRuns: 300 },
  );
});
