import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Connectivity, makeLeaseCluster } from '../../test/make/lease-cluster.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';

const boxes = ['box-1', 'box-2', 'box-3'] as const;
const steps = fc.array(
  fc.record({
    host: fc.constantFrom(...boxes),
    link: fc.constantFrom<Connectivity>('up', 'cut', 'answers-lost'),
    seconds: fc.integer({ min: 1, max: 25 }),
    wallClockMs: fc.constantFrom(0, 0, 3_600_000, -3_600_000),
  }),
  { maxLength: 20 },
);

test('two hosts never hold the Lease at the same time, with any interruptions and jumps of the wall clock', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (schedule) => {
      const clock = virtualClock();
      const cluster = makeLeaseCluster();
      const stop = new AbortController();
      const hosts = boxes.map((identity) => cluster.claimOf(identity, { clock, log: recordLog() }));
      const running = hosts.map(async (lease) => {
        for (;;) {
          await lease.acquire(stop.signal);
          await lease.hold(stop.signal);
        }
      });
      for (const { host, link, seconds, wallClockMs } of schedule) {
        cluster.links.set(host, link);
        clock.setWallClock(wallClockMs);
        for (let second = 0; second < seconds; second += 1) {
          await clock.advance(1_000);
          expect(hosts.filter((lease) => lease.isHolder()).length).toBeLessThanOrEqual(1);
        }
      }
      cluster.links.clear();
      await clock.advance(40_000);
      expect(hosts.filter((lease) => lease.isHolder())).toHaveLength(1);
      stop.abort();
      await Promise.allSettled(running);
    }),
    { numRuns: 300 },
  );
});
