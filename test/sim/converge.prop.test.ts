import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { KubeObject } from '../../src/kube/object.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { breathe } from './event-loop.ts';
import type { RequestRecord } from './faults.ts';
import { type Harness, makeHarness, projectKept, service, truth, until } from './harness.ts';
import { fastClock } from './virtual-clock.ts';

/*
 * After any schedule of changes and faults, the store equals the server. Changes come from other clients and from
 * furiwake's own writes, whose answers are put into the store before or after their echo.
 */
type Stage = { readonly server: SimApiServer; readonly harness: Harness; restore: () => number };
type Change = (stage: Stage, name: string, note: string) => void | Promise<void>;

const changes: Readonly<Record<string, Change>> = {
  put: ({ server }, name, note) => void server.put('Service', service(name, note)),
  patch: async ({ harness: { client, services, signal } }, name, note) => {
    const path = `/api/v1/namespaces/default/services/${name}`;
    const patch = [{ op: 'add' as const, path: '/metadata/annotations', value: { note } }];
    try {
      const answer = await client.jsonPatch<KubeObject>(path, patch, { signal });
      services.put(projectKept(answer), answer.metadata.resourceVersion ?? '');
    } catch {
      // refused, reset, or missing: no new knowledge
    }
  },
  remove: ({ server }, name) => {
    if (server.get('Service', `default/${name}`) !== undefined) server.remove('Service', `default/${name}`);
  },
  spoil: ({ server }, name) => void server.put('Service', service(name, 'spoilt', { unreadable: 'yes' })),
};

const isReading = ({ verb }: RequestRecord): boolean => verb === 'watch' || verb === 'list';
const answering =
  (answer: number) =>
  ({ server: { faults } }: Stage): void =>
    faults.next({ mishap: { answer }, on: isReading });

const mishaps: Readonly<Record<string, (stage: Stage) => void>> = {
  bookmark: ({ server }) => server.bookmark(),
  end: ({ server: { faults } }) => faults.endWatches(),
  expire: ({ server: { faults } }) => faults.failWatches(410),
  throttle: ({ server: { faults } }) => faults.failWatches(429),
  fail: ({ server: { faults } }) => faults.failWatches(500),
  freeze: ({ server: { faults } }) => faults.freezeWatches(),
  truncate: ({ server: { faults } }) => faults.truncateWatches(),
  reset: ({ server: { faults } }) => faults.resetConnections(),
  restart: ({ server: { faults } }) => faults.restart(),
  backup: (stage) => void (stage.restore = stage.server.backup()),
  /**
   * A backup is restored, and a watch that asks for a version that it lacks is refused. (If the API server waits for such a
   * version, two silent watches lead to a list: `watch-faults.test.ts`.)
   */
  restore: ({ restore, server: { faults } }) => {
    const revision = restore();
    const lacks = (version: string | null): boolean => Number(version?.replace('rv', '')) > revision;
    faults.next({
      mishap: { answer: 410 },
      on: ({ verb, query }) => verb === 'watch' && lacks(query.get('resourceVersion')),
    });
  },
  split: ({ server: { faults } }) => void (faults.splitsCharacters = !faults.splitsCharacters),
  refuseWatchList: ({ server: { faults } }) => void (faults.watchList = 'refused'),
  allowWatchList: ({ server: { faults } }) => void (faults.watchList = 'on'),
  answer410: answering(410),
  answer429: answering(429),
  answer500: answering(500),
  resetNext: ({ server: { faults } }) => faults.next({ mishap: 'reset', on: isReading }),
  endAtOnce: ({ server: { faults } }) => faults.next({ mishap: 'end-at-once', on: ({ verb }) => verb === 'watch' }),
};

/** An action, and the number of turns of the event loop in which sockets may deliver data before the next. */
const step = fc.record({
  change: fc.constantFrom(...Object.keys(changes)),
  name: fc.constantFrom('a', 'b', 'c', 'd'),
  note: fc.string({ unit: 'grapheme', maxLength: 8 }),
  mishap: fc.option(fc.constantFrom(...Object.keys(mishaps)), { freq: 2 }),
  turns: fc.constantFrom(0, 1, 3, 10, 50),
});

const setting = fc.record({ seed: fc.nat(), waits: fc.boolean(), hasOpaqueVersions: fc.boolean() });

test('after any schedule of changes and faults the store equals the server', async () => {
  await fc.assert(
    fc.asyncProperty(setting, fc.array(step, { maxLength: 30 }), async ({ seed, waits, hasOpaqueVersions }, steps) => {
      const clock = fastClock(1_000);
      await using server = await startSimApiServer({ seed, clock, bookmarkEveryMs: 20_000, hasOpaqueVersions });
      server.put('Service', service('a', 'first'));
      await using harness = await makeHarness(server, { clock });
      harness.watch();
      if (waits) await harness.services.synced;
      const stage: Stage = { server, harness, restore: () => Number.POSITIVE_INFINITY };
      for (const { change, name, note, mishap, turns } of steps) {
        await changes[change]?.(stage, name, note);
        if (mishap !== null) mishaps[mishap]?.(stage);
        for (let turn = 0; turn < turns; turn += 1) await breathe();
      }
      // From here on every object can be decoded.
      for (const { metadata } of server.list('Service'))
        if (metadata.annotations?.['unreadable'] !== undefined) server.put('Service', service(metadata.name, 'well'));
      const wanted = truth(server);
      const { services } = harness;
      await until(() => services.isSynced && isEqual(new Map(services.objects()), wanted));
      expect(new Map(services.objects())).toEqual(wanted);
    }),
    // A schedule that never converges is a failure after half a minute, and prints its seed.
    { numRuns: 50, timeout: 30_000, interruptAfterTimeLimit: 120_000, markInterruptAsFailure: false },
  );
});

function isEqual(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => isDeepStrictEqual(value, b.get(key)));
}
