import { expect, test } from 'vitest';
import { startSimApiServer } from './apiserver.ts';
import { makeHarness, service, truth, until } from './harness.ts';
import { fastClock, virtualClock } from './virtual-clock.ts';
import { errorsIn, typesIn, waitIn, watchesOf, watchScene } from './watch-scene.ts';

test('changes and deletions arrive in order, without another request', async () => {
  await using both = await watchScene();
  const { server, harness } = both;
  harness.watch();
  await harness.services.synced;
  server.put('Service', service('a', 'second'));
  server.remove('Service', 'default/b');
  server.put('Service', service('d'));
  await until(() => harness.services.objects().has('default/d'));
  expect(new Map(harness.services.objects())).toEqual(truth(server));
  expect(typesIn(harness).slice(5)).toEqual(['apply', 'delete', 'apply']);
  expect(server.requests).toHaveLength(1);
});

test.each([
  [410, 'expired'],
  [429, 'throttled'],
  [500, 'server'],
  [403, 'forbidden'],
] as const)('an ERROR event of %i in the stream is reported as %s, and the watch resumes', async (status, code) => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  harness.watch();
  await harness.services.synced;
  server.faults.failWatches(status);
  await until(() => errorsIn(harness).length === 1);
  expect(errorsIn(harness).map((error) => error.code)).toEqual([code]);
  server.put('Service', service('d'));
  await clock.advance(waitIn(harness));
  await until(() => harness.services.objects().has('default/d'));
  expect(new Map(harness.services.objects())).toEqual(truth(server));
  // Only a 410 leads to a request for the whole set.
  expect(typesIn(harness).filter((type) => type === 'initDone')).toHaveLength(status === 410 ? 2 : 1);
});

test.each([
  [410, 'expired'],
  [429, 'throttled'],
  [500, 'server'],
  [503, 'server'],
  [401, 'unauthorized'],
] as const)('HTTP %i instead of the first watch is reported as %s, and the watch starts', async (answer, code) => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  server.faults.next({ mishap: { answer }, on: ({ verb }) => verb === 'watch' });
  harness.watch();
  await until(() => errorsIn(harness).length === 1);
  expect(errorsIn(harness)[0]?.code).toBe(code);
  await clock.advance(waitIn(harness));
  await harness.services.synced;
  expect(new Map(harness.services.objects())).toEqual(truth(server));
});

test('Retry-After is a lower bound for the wait', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  server.faults.next({ mishap: { answer: 429, retryAfterSeconds: 20 } });
  harness.watch();
  await clock.untilSleeping(20_000, 30_000);
  await clock.advance(19_000);
  expect(watchesOf(server)).toHaveLength(1);
  await clock.advance(1_000);
  await harness.services.synced;
  expect(watchesOf(server)).toHaveLength(2);
});

test('a reset connection resumes from the last version', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  harness.watch();
  await harness.services.synced;
  server.faults.resetConnections();
  await until(() => errorsIn(harness).length === 1);
  server.put('Service', service('a', 'meanwhile'));
  server.remove('Service', 'default/c');
  await clock.advance(waitIn(harness));
  await until(() => !harness.services.objects().has('default/c'));
  expect(new Map(harness.services.objects())).toEqual(truth(server));
  expect(errorsIn(harness).map(({ code }) => code)).toEqual(['network']);
  expect(typesIn(harness).filter((type) => type === 'init')).toHaveLength(1);
});

test('a half-open connection is replaced after 180 s of silence, without a list', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  harness.watch();
  await harness.services.synced;
  server.faults.freezeWatches();
  server.put('Service', service('a', 'unheard'));
  await clock.advance(179_000);
  expect(errorsIn(harness)).toEqual([]);
  await clock.advance(11_000);
  await until(() => harness.services.objects().get('default/a')?.note === 'unheard');
  expect(errorsIn(harness).map(({ code }) => code)).toEqual(['idle']);
  expect(typesIn(harness).filter((type) => type === 'init')).toHaveLength(1);
  expect(watchesOf(server).at(-1)?.query.get('resourceVersion')).toBeTruthy();
});

test('bookmarks keep a quiet watch alive and advance the version to resume from', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  harness.watch();
  await harness.services.synced;
  for (let minute = 0; minute < 4; minute += 1) {
    server.put('Node', { metadata: { name: `n${minute}` } });
    server.bookmark();
    await until(() => typesIn(harness).filter((type) => type === 'bookmark').length === minute + 1);
    await clock.advance(60_000);
  }
  expect(errorsIn(harness)).toEqual([]);
  const { revision } = { revision: server.get('Node', 'n3')?.metadata.resourceVersion };
  server.faults.endWatches();
  await until(() => watchesOf(server).length === 2);
  expect(watchesOf(server)[1]?.query.get('resourceVersion')).toBe(revision);
  expect(errorsIn(harness)).toEqual([]);
});

test('a truncated line is not an object: the watch resumes before it', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  harness.watch();
  await harness.services.synced;
  server.faults.truncateWatches();
  server.put('Service', service('a', 'cut'));
  await until(() => errorsIn(harness).length === 1);
  expect(errorsIn(harness)[0]?.code).toBe('protocol');
  expect(harness.services.objects().get('default/a')?.note).toBe('');
  await clock.advance(waitIn(harness));
  await until(() => harness.services.objects().get('default/a')?.note === 'cut');
});

test('characters that are split over two chunks arrive complete', async () => {
  await using both = await watchScene();
  const { server, harness } = both;
  server.faults.splitsCharacters = true;
  server.put('Service', service('d', '振り分け'));
  harness.watch();
  await harness.services.synced;
  server.put('Service', service('a', 'それぞれの場所へ'));
  await until(() => harness.services.objects().get('default/a')?.note !== '');
  expect(new Map(harness.services.objects())).toEqual(truth(server));
});

test('a slow stream is not considered dead', async () => {
  await using both = await watchScene();
  const { server, harness } = both;
  server.faults.slowMs = 5;
  harness.watch();
  await harness.services.synced;
  server.put('Service', service('d'));
  server.put('Service', service('e'));
  await until(() => harness.services.objects().has('default/e'));
  expect(new Map(harness.services.objects())).toEqual(truth(server));
});

test('watches that end as soon as they begin are repeated after growing waits', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  server.faults.next({ mishap: 'end-at-once', times: 1_000 });
  harness.watch();
  await until(() => errorsIn(harness).length === 1);
  for (let second = 0; second < 10; second += 1) {
    await clock.advance(1_000);
    await until(() => clock.sleepers > 0);
  }
  expect(errorsIn(harness).every(({ code }) => code === 'ended')).toBe(true);
  expect(server.requests.length).toBeLessThan(6);
});

test('an object whose projection throws is skipped and reported, keeps its last state, and is not considered deleted', async () => {
  await using both = await watchScene();
  const { server, harness } = both;
  harness.watch();
  await harness.services.synced;
  server.put('Service', service('a', 'second', { unreadable: 'yes' }));
  server.put('Service', service('b', 'second'));
  await until(() => harness.services.objects().get('default/b')?.note === 'second');
  expect(harness.services.objects().get('default/a')?.note).toBe('');

  server.faults.resetConnections();
  server.put('Node', { metadata: { name: 'n' } });
  server.faults.restart(); // the next full set also contains it
  await until(() => errorsIn(harness).length > 0);
  await both.clock.advance(waitIn(harness));
  await until(() => typesIn(harness).filter((type) => type === 'initDone').length === 2);
  expect(harness.services.objects().get('default/a')?.note).toBe('');

  server.put('Service', service('a', 'third'));
  await until(() => harness.services.objects().get('default/a')?.note === 'third');
});

test('the watch waits for a server that is down', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  server.faults.isDown = true;
  harness.watch();
  for (let turn = 1; turn <= 4; turn += 1) {
    await until(() => errorsIn(harness).length === turn);
    if (turn === 4) server.faults.isDown = false;
    await clock.advance(waitIn(harness));
  }
  await harness.services.synced;
  expect(errorsIn(harness).every(({ code }) => code === 'network')).toBe(true);
  expect(harness.log.filter(({ level }) => level === 'warn').map(({ message }) => message)).toEqual([
    'watching services failed; retrying',
  ]);
  expect(new Map(harness.services.objects())).toEqual(truth(server));
});

test('a token that is rejected is read again from its file, at once', async () => {
  await using server = await startSimApiServer({ seed: 2 });
  server.put('Service', service('a'));
  const files = new Map([['/token', 'old\n']]);
  const kubeconfig = JSON.stringify({
    ...(JSON.parse(server.kubeconfig()) as object),
    users: [{ name: 'sim', user: { tokenFile: '/token' } }],
  });
  server.faults.tokens = new Set(['old']);
  const clock = virtualClock();
  await using harness = await makeHarness(server, { clock, kubeconfig, files });
  harness.watch();
  await harness.services.synced;
  await clock.advance(2_000); // a watch that is shorter counts as a failure
  files.set('/token', 'new\n');
  server.faults.tokens = new Set(['new']);
  server.faults.endWatches();
  await until(() => server.watching === 1 && server.requests.length === 3);
  expect(server.requests.map(({ status }) => status).slice(0, 2)).toEqual([200, 401]);
  server.put('Service', service('b'));
  await until(() => harness.services.objects().has('default/b'));
});

test('an aborted watch ends at once, in every phase', async () => {
  await using server = await startSimApiServer({ seed: 3 });
  server.faults.next({ mishap: 'hang' });
  const harness = await makeHarness(server, { clock: fastClock(1) });
  harness.watch();
  await until(() => server.requests.length === 1);
  await harness[Symbol.asyncDispose]();
  expect(harness.services.isSynced).toBe(false);
});
