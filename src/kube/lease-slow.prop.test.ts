import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { type Connectivity, makeLeaseCluster } from '../../test/make/lease-cluster.ts';
import { makeLeaseHosts } from '../../test/make/lease-hosts.ts';
import { boxes } from '../../test/make/lease-schedule.ts';
import { slowly } from '../../test/make/slow-lease-client.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { makeLease } from './lease.ts';

const runs = Number(process.env['RUNS'] ?? 100);
vi.setConfig({ testTimeout: runs * 400 });

/** Answers just below and above the timeouts of requests, also. */
const anySchedule = fc.array(
  fc.record({
    host: fc.constantFrom(...boxes),
    link: fc.constantFrom<Connectivity>('up', 'up', 'cut', 'answers-lost'),
    answerMs: fc.constantFrom(0, 500, 1_500, 2_500, 2_900, 3_500, 4_400, 4_900, 6_000),
    seconds: fc.integer({ min: 1, max: 25 }),
    isRestarted: fc.boolean(),
  }),
  { maxLength: 20 },
);

test('two hosts never hold the Lease at the same time, however slow the API server answers each of them; in the end one does', async () => {
  await fc.assert(
    fc.asyncProperty(anySchedule, async (schedule) => {
      const clock = virtualClock();
      const cluster = makeLeaseCluster();
      const answersMs = new Map<string, number>();
      const { start, holders, end } = makeLeaseHosts((identity) =>
        makeLease({
          client: slowly(cluster.clientOf(identity), () => answersMs.get(identity) ?? 0, clock),
          namespace: 'ns',
          name: 'furiwake',
          identity,
          mayBeServed: cluster.mayBeServed,
          hasOthers: () => true,
          random: () => 0.5,
          clock,
          log: recordLog(),
        }),
      );
      boxes.forEach(start);
      await clock.advance(11_000); // the hosts know of each other
      for (const { host, link, answerMs, seconds, isRestarted } of schedule) {
        cluster.links.set(host, link);
        answersMs.set(host, answerMs);
        if (isRestarted) start(host);
        for (let fifths = 0; fifths < seconds * 5; fifths += 1) {
          await clock.advance(200);
          expect(holders()).toBeLessThanOrEqual(1);
        }
      }
      cluster.links.clear();
      answersMs.clear();
      await clock.advance(60_000);
      expect(holders()).toBe(1);
      await end();
    }),
    { numRuns: runs },
  );
});
