import { expect, test } from 'vitest';
import type { KubeObject } from '../../src/kube/object.ts';
import { projectKept, service, truth, until } from './harness.ts';
import { errorsIn, typesIn, waitIn, watchScene } from './watch-scene.ts';

/* What the server had is lost or cannot be resumed: the watch lists all objects again. */

test('after a restore of etcd the watch waits for a version that does not exist yet; silent twice, it lists again', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  const restore = server.backup();
  harness.watch();
  await harness.services.synced;
  for (let count = 0; count < 20; count += 1) server.put('Service', service('a', `note ${count}`));
  server.remove('Service', 'default/b');
  server.put('Service', service('d'));
  await until(() => harness.services.objects().has('default/d'));
  restore();
  await until(() => errorsIn(harness).length === 1);
  await clock.advance(waitIn(harness));
  for (let silences = 1; silences <= 2; silences += 1) {
    await until(() => server.watching === 1);
    await clock.advance(180_000);
    await until(() => errorsIn(harness).length === 1 + silences);
  }
  // It lists an older state: believed after 30 s.
  const has = (): boolean => harness.services.objects().has('default/b');
  for (let errors = 4; !has(); errors += 1) {
    await clock.advance(waitIn(harness));
    await until(() => has() || errorsIn(harness).length === errors);
  }
  const codes = errorsIn(harness).map(({ code }) => code);
  expect([codes.slice(0, 3), new Set(codes.slice(3))]).toEqual([['network', 'idle', 'idle'], new Set(['outdated'])]);
  expect(new Map(harness.services.objects())).toEqual(truth(server));
  server.put('Service', service('a', 'after'));
  await until(() => harness.services.objects().get('default/a')?.note === 'after');
});

test('an own write that a restored etcd lacks, and that the watch has not delivered, does not stay in the store', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  const { client, services, signal } = harness;
  const restore = server.backup();
  harness.watch();
  await services.synced;
  server.faults.freezeWatches();
  const patch = [{ op: 'add', path: '/metadata/annotations', value: { note: 'lost' } }] as const;
  const answer = await client.jsonPatch<KubeObject>('/api/v1/namespaces/default/services/a', patch, { signal });
  services.put(projectKept(answer), answer.metadata.resourceVersion ?? '');
  expect(services.objects().get('default/a')?.note).toBe('lost');
  restore();
  await until(() => errorsIn(harness).length === 1);
  await clock.advance(waitIn(harness));
  await until(() => typesIn(harness).filter((type) => type === 'initDone').length === 2);
  expect(new Map(services.objects())).toEqual(truth(server));
});

test('after three unreadable streams in a row all objects are listed again', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  harness.watch();
  await harness.services.synced;
  server.faults.next({ mishap: 'garbage', times: 2 });
  server.faults.truncateWatches();
  server.put('Service', service('d'));
  for (let turn = 1; turn <= 3; turn += 1) {
    await until(() => errorsIn(harness).length === turn);
    await clock.advance(waitIn(harness));
  }
  await until(() => typesIn(harness).filter((type) => type === 'initDone').length === 2);
  expect(errorsIn(harness).map(({ code }) => code)).toEqual(['protocol', 'protocol', 'protocol']);
  expect(new Map(harness.services.objects())).toEqual(truth(server));
});

test('after a restart without history all objects are listed again, and those deleted meanwhile disappear', async () => {
  await using both = await watchScene();
  const { server, harness, clock } = both;
  harness.watch();
  await harness.services.synced;
  server.faults.restart();
  server.remove('Service', 'default/b');
  server.put('Service', service('d'));
  server.faults.restart();
  await until(() => errorsIn(harness).length === 1);
  await clock.advance(waitIn(harness));
  await until(() => harness.services.objects().has('default/d'));
  expect(new Map(harness.services.objects())).toEqual(truth(server));
});
