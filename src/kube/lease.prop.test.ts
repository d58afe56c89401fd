import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Connectivity, makeLeaseCluster } from '../../test/make/lease-cluster.ts';
import { recordLog } from '../../test/sim/observers.ts';
import type { LeaseObject } from './lease-object.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';

const boxes = ['box-1', 'box-2', 'box-3'] as const;
const steps = fc.array(
  fc.record({
    host: fc.constantFrom(...boxes),
    link: fc.constantFrom<Connectivity>('up', 'cut', 'answers-lost'),
    seconds: fc.integer({ min: 1, max: 25 }),
    wallClockMs: fc.constantFrom(0, 0, 3_600_000, -3_600_000),
    act: fc.constantFrom('none', 'none', 'deleted', 'emptied', 'saved', 'restored'),
  }),
  { maxLength: 20 },
);

test('two hosts never hold the Lease at the same time: interruptions, jumps of the wall clock, a Lease deleted, emptied or restored', async () => {
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
      await clock.advance(11_000); // the hosts know of each other
      let backup: LeaseObject | undefined;
      let [heldSinceMs, allUpSinceMs] = [0, 0];
      let shown = cluster.lease?.spec;
      for (const { host, link, seconds, wallClockMs, act } of schedule) {
        cluster.links.set(host, link);
        const { lease } = cluster;
        if (act === 'saved') backup = lease;
        // Gaps (ADR 0014): the holder changed seconds ago, so that a candidate does not know of it; a backup with the last Lease that a
        // host saw before it was cut off.
        const isShown = lease !== undefined && clock.monotonic() - heldSinceMs > 3_000;
        if (act === 'restored' && isShown && clock.monotonic() - allUpSinceMs > 3_000) cluster.lease = backup;
        if (act === 'deleted' && isShown) cluster.lease = undefined;
        if (act === 'emptied' && isShown) cluster.lease = { ...lease, spec: { ...lease.spec, holderIdentity: '' } };
        clock.setWallClock(wallClockMs);
        for (let second = 0; second < seconds; second += 1) {
          await clock.advance(1_000);
          const spec = cluster.lease?.spec;
          if (spec?.acquireTime !== shown?.acquireTime) heldSinceMs = clock.monotonic();
          if (boxes.some((box) => (cluster.links.get(box) ?? 'up') !== 'up')) allUpSinceMs = clock.monotonic();
          shown = spec;
          expect(hosts.filter((each) => each.isHolder()).length).toBeLessThanOrEqual(1);
        }
      }
      cluster.links.clear();
      await clock.advance(60_000);
      expect(hosts.filter((lease) => lease.isHolder())).toHaveLength(1);
      stop.abort();
      await Promise.allSettled(running);
    }),
    { numRuns: 300 },
  );
});
