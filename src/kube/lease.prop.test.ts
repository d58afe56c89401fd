import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import type { Lease } from './lease.ts';
import { makeLeaseCluster } from '../../test/make/lease-cluster.ts';
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
      const hosts = new Map<
        string,
        { readonly lease: Lease; readonly stop: AbortController; readonly ended: Promise<void> }
      >();
      const start = (identity: string): void => {
        hosts.get(identity)?.stop.abort();
        const lease = cluster.claimOf(identity, { clock, log: recordLog() });
        const stop = new AbortController();
        const work = async (): Promise<void> => {
          for (;;) {
            await lease.acquire(stop.signal);
            await lease.hold(stop.signal);
          }
        };
        const ended = work();
        ended.catch(() => undefined);
        hosts.set(identity, { lease, stop, ended });
      };
      boxes.forEach(start);
      const holders = (): number => [...hosts.values()].filter(({ lease }) => lease.isHolder()).length;
      const check = (): void => expect(holders()).toBeLessThanOrEqual(1);
      await playLeaseSchedule(schedule, { cluster, clock, restart: start, check });
      expect(holders()).toBe(1);
      for (const { stop } of hosts.values()) stop.abort();
      await Promise.allSettled([...hosts.values()].map(({ ended }) => ended));
    }),
    { numRuns: runs },
  );
});
