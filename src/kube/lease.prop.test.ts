import fc from 'fast-check';
import { expect, test } from 'vitest';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { KubeClient } from './client.ts';
import { KubeError, type KubeErrorCode } from './errors.ts';
import { makeLease } from './lease.ts';
import type { LeaseObject } from './lease-object.ts';

/** What happens to the requests of one host: answered, not delivered, or done without an answer. */
type Link = 'up' | 'cut' | 'answers-lost';

const steps = fc.array(
  fc.record({
    host: fc.constantFrom(0, 1, 2),
    link: fc.constantFrom<Link>('up', 'cut', 'answers-lost'),
    seconds: fc.integer({ min: 1, max: 25 }),
    wallClockMs: fc.constantFrom(0, 0, 3_600_000, -3_600_000),
  }),
  { maxLength: 20 },
);

const failure = (code: KubeErrorCode): Promise<never> =>
  Promise.reject(new KubeError({ code, message: 'no', verb: 'get', path: '/leases' }));

test('two hosts never hold the Lease at the same time, whatever is cut off and for how long', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (schedule) => {
      const clock = virtualClock();
      const links: Link[] = ['up', 'up', 'up'];
      let stored: LeaseObject | undefined;
      let version = 0;

      const clientOf = (host: number): Pick<KubeClient, 'get' | 'create' | 'replace'> => {
        const answer = async <T>(work: () => Promise<T>): Promise<T> => {
          if (links[host] === 'cut') return failure('UNREACHABLE');
          const result = await work();
          return links[host] === 'answers-lost' ? failure('TIMEOUT') : result;
        };
        const write = (lease: LeaseObject): Promise<LeaseObject> => {
          stored = { ...lease, metadata: { ...lease.metadata, resourceVersion: String(++version) } };
          return Promise.resolve(stored);
        };
        return {
          get: () => answer(() => (stored === undefined ? failure('NOT_FOUND') : Promise.resolve(stored))),
          create: (_: string, body: unknown) =>
            answer(() => (stored === undefined ? write(body as LeaseObject) : failure('ALREADY_EXISTS'))),
          replace: (_: string, body: unknown) => {
            const lease = body as LeaseObject;
            const isCurrent = (): boolean => stored?.metadata.resourceVersion === lease.metadata.resourceVersion;
            return answer(() => (isCurrent() ? write(lease) : failure('CONFLICT')));
          },
        } as Pick<KubeClient, 'get' | 'create' | 'replace'>;
      };

      const stop = new AbortController();
      const hosts = links.map((_, host) =>
        makeLease({
          client: clientOf(host),
          namespace: 'ns',
          name: 'furiwake',
          identity: `box-${host}`,
          clock,
          random: () => 0.5,
          log: recordLog(),
        }),
      );
      const running = hosts.map(async (lease) => {
        for (;;) {
          await lease.acquire(stop.signal);
          await lease.hold(stop.signal);
        }
      });
      for (const { host, link, seconds, wallClockMs } of schedule) {
        links[host] = link;
        clock.setWallClock(wallClockMs);
        for (let second = 0; second < seconds; second += 1) {
          await clock.advance(1_000);
          expect(hosts.filter((lease) => lease.isHeld()).length).toBeLessThanOrEqual(1);
        }
      }
      links.fill('up');
      await clock.advance(40_000);
      expect(hosts.filter((lease) => lease.isHeld())).toHaveLength(1);
      stop.abort();
      await Promise.allSettled(running);
    }),
    { numRuns: 300 },
  );
});
