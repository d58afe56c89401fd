import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type Harness, makeHarness, service, truth, until } from './harness.ts';
import { fastClock } from './virtual-clock.ts';

/*
 * After any schedule of changes and faults, the store is what the server has. Changes come by the watch, and some by
 * our own writes too, whose answers are put into the store before or after their echo.
 */
const mishaps = [
  'bookmark',
  'end',
  'fail-410',
  'fail-429',
  'fail-500',
  'freeze',
  'truncate',
  'reset',
  'restart',
  'split',
  'refuse-watch-list',
  'allow-watch-list',
  'http-410',
  'http-429',
  'http-500',
  'http-reset',
  'end-at-once',
  'breathe',
] as const;

type Step =
  | { readonly do: 'put' | 'patch' | 'remove' | 'spoil'; readonly name: string; readonly note: string }
  | { readonly do: (typeof mishaps)[number] };

const change: fc.Arbitrary<Step> = fc.record({
  do: fc.constantFrom(
    'put' as const,
    'put' as const,
    'patch' as const,
    'patch' as const,
    'remove' as const,
    'spoil' as const,
  ),
  name: fc.constantFrom('a', 'b', 'c', 'd'),
  note: fc.string({ unit: 'grapheme', maxLength: 8 }),
});
const schedule: fc.Arbitrary<Step[]> = fc.array(fc.oneof(change, fc.record({ do: fc.constantFrom(...mishaps) })), {
  maxLength: 40,
});

const nextWatch = { on: ({ verb }: { verb: string }) => verb === 'watch' || verb === 'list' };

async function perform(step: Step, server: SimApiServer, harness: Harness): Promise<void> {
  const { faults } = server;
  switch (step.do) {
    case 'put':
      return void server.put('Service', service(step.name, step.note));
    case 'patch':
      return patch(step.name, step.note, harness);
    case 'remove':
      return server.get('Service', `default/${step.name}`) && server.remove('Service', `default/${step.name}`);
    case 'spoil':
      return void server.put('Service', service(step.name, 'spoilt', { unreadable: 'yes' }));
    case 'bookmark':
      return server.bookmark();
    case 'end':
      return faults.endWatches();
    case 'fail-410':
    case 'fail-429':
    case 'fail-500':
      return faults.failWatches(Number(step.do.slice(5)));
    case 'freeze':
      return faults.freezeWatches();
    case 'truncate':
      return faults.truncateWatches();
    case 'reset':
      return faults.resetConnections();
    case 'restart':
      return faults.restart();
    case 'split':
      faults.splitsCharacters = !faults.splitsCharacters;
      return;
    case 'refuse-watch-list':
    case 'allow-watch-list':
      faults.watchList = step.do === 'allow-watch-list' ? 'on' : 'refused';
      return;
    case 'http-410':
    case 'http-429':
    case 'http-500':
      return faults.next({ mishap: { answer: Number(step.do.slice(5)) }, ...nextWatch });
    case 'http-reset':
      return faults.next({ mishap: 'reset', ...nextWatch });
    case 'end-at-once':
      return faults.next({ mishap: 'end-at-once', on: ({ verb }) => verb === 'watch' });
    case 'breathe':
      return new Promise((resolve) => setTimeout(resolve, 3));
    default:
      step satisfies never;
  }
}

/** One of our own writes, its answer put into the store. It may fail like any other request. */
async function patch(target: string, text: string, { client, services, signal }: Harness): Promise<void> {
  const path = `/api/v1/namespaces/default/services/${target}`;
  const patchBody = [{ op: 'add' as const, path: '/metadata/annotations', value: { note: text } }];
  try {
    const answer = await client.jsonPatch<Parameters<typeof projectAnswer>[0]>(path, patchBody, { signal });
    services.put(projectAnswer(answer), answer.metadata.resourceVersion);
  } catch {
    // refused, reset or not there: nothing was learnt
  }
}

function projectAnswer(answer: {
  metadata: { name: string; namespace: string; uid: string; resourceVersion: string; annotations: { note: string } };
  spec: { type: string };
}): { key: string; uid: string; type: string; note: string } {
  const { namespace, name: own, uid, annotations } = answer.metadata;
  return { key: `${namespace}/${own}`, uid, type: answer.spec.type, note: annotations.note };
}

test('after any schedule of changes and faults the store equals the server', { timeout: 30_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 1e9 }), schedule, async (seed, steps) => {
      await using server = await startSimApiServer({ seed, timeFactor: 1_000, bookmarkEveryMs: 20_000 });
      server.put('Service', service('a', 'first'));
      await using harness = await makeHarness(server, { clock: fastClock(1_000) });
      harness.watch();
      for (const each of steps) await perform(each, server, harness);
      // Nothing goes wrong any more, and every object can be read again.
      for (const { metadata } of server.list('Service'))
        if (metadata.annotations?.['unreadable'] !== undefined) server.put('Service', service(metadata.name, 'well'));
      server.put('Service', service('last', String(seed)));
      const wanted = truth(server);
      await until(() => isEqual(harness.services.objects(), wanted));
      expect(harness.services.isSynced).toBe(true);
      expect([...harness.services.undecodable()]).toEqual([]);
    }),
    // A schedule that never converges is a failure after five seconds, with its seed.
    { numRuns: 60, timeout: 5_000, interruptAfterTimeLimit: 20_000, markInterruptAsFailure: false },
  );
});

function isEqual(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => isDeepStrictEqual(value, b.get(key)));
}
