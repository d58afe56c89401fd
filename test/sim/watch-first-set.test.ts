import { expect, test } from 'vitest';
import type { KubeObject } from '../../src/kube/object.ts';
import { watchResource } from '../../src/kube/watcher.ts';
import { service, truth, until } from './harness.ts';
import { errorsIn, listsOf, typesIn, waitIn, watchScene } from './watch-scene.ts';

test('the first set comes as one stream, without a list', async () => {
  await using both = await watchScene();
  const { server, harness } = both;
  harness.watch();
  await harness.services.synced;
  expect(new Map(harness.services.objects())).toEqual(truth(server));
  expect(listsOf(server)).toEqual([]);
  expect(typesIn(harness)).toEqual(['init', 'initApply', 'initApply', 'initApply', 'initDone']);
});

test.each([['refused'], ['ignored']] as const)(
  'a server whose WatchList is %s is listed, then watched',
  async (mode) => {
    await using both = await watchScene();
    const { server, harness } = both;
    server.faults.watchList = mode;
    harness.watch();
    if (mode === 'ignored') {
      await until(() => harness.events.length === 4);
      server.bookmark(); // one that does not mark the end of the initial events
    }
    await harness.services.synced;
    expect(new Map(harness.services.objects())).toEqual(truth(server));
    expect(listsOf(server)).toHaveLength(1);
    expect(errorsIn(harness)).toEqual([]);
    expect(harness.metrics.total('furiwake_watch_restarts_total', { reason: 'fallback' })).toBe(1);
    await until(() => server.watching > 0);
    server.put('Service', service('d'));
    await until(() => harness.services.objects().has('default/d'));
  },
);

test('a server that is only slow gets another request for the stream, not for a list', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  server.faults.next({ mishap: 'hang', on: ({ verb }) => verb === 'watch' });
  harness.watch();
  await until(() => server.requests.length === 1);
  await clock.advance(89_000);
  expect([server.requests.length, errorsIn(harness)]).toEqual([1, []]);
  await clock.advance(1_000);
  await harness.services.synced;
  expect(errorsIn(harness).map(({ code }) => code)).toEqual(['idle']);
  expect([listsOf(server), new Map(harness.services.objects())]).toEqual([[], truth(server)]);
});

test('a missing permission to watch is an error, and does not lead to a list', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  server.faults.next({ mishap: { answer: 403 }, on: ({ verb }) => verb === 'watch' });
  harness.watch();
  await until(() => errorsIn(harness).length === 1);
  await clock.advance(waitIn(harness));
  await harness.services.synced;
  expect(errorsIn(harness).map(({ code }) => code)).toEqual(['forbidden']);
  expect(listsOf(server)).toEqual([]);
});

test('a long list arrives in pages of one revision', async () => {
  await using both = await watchScene();
  const { server, harness } = both;
  server.faults.watchList = 'refused';
  for (let index = 0; index < 1_200; index += 1) server.put('Service', service(`s${index}`));
  harness.watch();
  await harness.services.synced;
  expect(new Map(harness.services.objects())).toEqual(truth(server));
  expect(listsOf(server).map(({ query }) => query.get('limit'))).toEqual(['500', '500', '500']);
});

test('a failed page is requested again, and the pages before it are kept', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  server.faults.watchList = 'refused';
  for (let index = 0; index < 1_200; index += 1) server.put('Service', service(`s${index}`));
  server.faults.next({ mishap: { answer: 500 }, on: ({ query }) => query.get('continue') !== null });
  harness.watch();
  await until(() => errorsIn(harness).length === 1);
  await clock.advance(waitIn(harness));
  await harness.services.synced;
  expect(new Map(harness.services.objects())).toEqual(truth(server));
  expect(listsOf(server)).toHaveLength(4);
});

test('after a page has expired the list starts over', async () => {
  await using both = await watchScene();
  const { server, harness } = both;
  server.faults.watchList = 'refused';
  for (let index = 0; index < 600; index += 1) server.put('Service', service(`s${index}`));
  server.faults.next({ mishap: { answer: 410 }, on: ({ query }) => query.get('continue') !== null });
  harness.watch();
  await harness.services.synced;
  expect(new Map(harness.services.objects())).toEqual(truth(server));
  expect(errorsIn(harness).map(({ code }) => code)).toEqual(['expired']);
});

test('a server whose watches expire at once gets lists after growing waits, and the log says so once', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  server.faults.watchList = 'refused';
  const isPlainWatch = ({ query }: { readonly query: URLSearchParams }): boolean => query.has('resourceVersion');
  server.faults.next({ mishap: { answer: 410 }, times: 1_000, on: isPlainWatch });
  harness.watch();
  for (let second = 0; second < 60; second += 1) {
    await until(() => clock.sleepers > 0);
    await clock.advance(1_000);
  }
  expect(listsOf(server).length).toBeGreaterThan(5);
  expect(listsOf(server).length).toBeLessThan(20);
  expect(harness.log.filter(({ level }) => level === 'warn')).toHaveLength(1);
  expect(harness.log.filter(({ level }) => level === 'info')).toHaveLength(1);
});

test('a list that steady own writes have overtaken is followed by a watch, not by another list', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  server.faults.watchList = 'refused';
  const events = watchResource<KubeObject, string>({
    client: harness.client,
    path: '/api/v1/services',
    project: ({ metadata }) => metadata.name,
    newestAnswer: () => '1000000',
    signal: harness.signal,
    clock,
    random: () => 0,
    metrics: harness.metrics,
  });
  for await (const { type } of events) {
    if (type === 'initDone') server.put('Service', service('d'));
    if (type === 'apply') break;
  }
  expect(listsOf(server)).toHaveLength(1);
});
