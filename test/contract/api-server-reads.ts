import { expect, test } from 'vitest';
import { isNewer } from '../../src/kube/resource-version.ts';
import {
  type ApiServerScene,
  type Service,
  annotate,
  bodyOf,
  createService,
  failureOf,
  initialEvents,
  mine,
  namesOf,
  openWatch,
  servicesOf,
  signal,
  statusOf,
} from './api-server-requests.ts';

/** Lists and watches. */
export function readsContract(makeScene: () => Promise<ApiServerScene>): void {
  test('a list comes in pages, all with the state and the version of the first', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const path = servicesOf(scene);
    for (const each of ['a', 'b', 'c', 'd']) await createService(scene, each);
    const first = await client.list<Service>(path, { signal, query: { limit: '3' } });
    await client.delete(`${path}/d`, { signal });
    const token = first.metadata.continue ?? '';
    const second = await client.list<Service>(path, { signal, query: { limit: '3', continue: token } });
    expect(namesOf(first.items)).toEqual(['a', 'b', 'c']);
    expect(namesOf(second.items)).toEqual(['d']);
    expect(second.metadata).toEqual({ resourceVersion: first.metadata.resourceVersion });
    expect(namesOf((await client.list<Service>(path, { signal })).items)).toEqual(['a', 'b', 'c']);
  });

  test('a watch begins with all objects and a bookmark at their end, and continues with each change in order', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const path = servicesOf(scene);
    for (const each of ['a', 'b']) await createService(scene, each);
    await using watch = openWatch(client, path, initialEvents);
    const initial = [await watch.next(), await watch.next()];
    expect(initial.map(({ type, object }) => `${type} ${object.metadata.name}`).toSorted()).toEqual([
      'ADDED a',
      'ADDED b',
    ]);
    expect(await watch.next()).toMatchObject({
      type: 'BOOKMARK',
      object: {
        kind: 'Service',
        metadata: { annotations: { 'k8s.io/initial-events-end': 'true' }, resourceVersion: expect.any(String) },
      },
    });
    const created = await createService(scene, 'c');
    const changed = await annotate(client, `${path}/a`, 'note');
    await client.delete(`${path}/b`, { signal });
    const events = [await watch.nextChange(), await watch.nextChange(), await watch.nextChange()];
    expect(events.map(({ type, object }) => [type, object.metadata.name])).toEqual([
      ['ADDED', 'c'],
      ['MODIFIED', 'a'],
      ['DELETED', 'b'],
    ]);
    const versions = events.map(({ object }) => object.metadata.resourceVersion ?? '');
    expect(versions.slice(0, 2)).toEqual([created.metadata.resourceVersion, changed.metadata.resourceVersion]);
    expect(isNewer(versions[2] ?? '', versions[1] ?? '')).toBe(true);
    expect(isNewer(versions[1] ?? '', versions[0] ?? '')).toBe(true);
  });

  test('a watch from the version of a list delivers the changes since then, and nothing else', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const path = servicesOf(scene);
    await createService(scene, 'a');
    const { resourceVersion = '' } = (await client.list<Service>(path, { signal })).metadata;
    await client.delete(`${path}/a`, { signal });
    await createService(scene, 'b');
    await using watch = openWatch(client, path, { resourceVersion });
    await createService(scene, 'c');
    const events = [await watch.nextChange(), await watch.nextChange(), await watch.nextChange()];
    expect(events.map(({ type, object }) => [type, object.metadata.name])).toEqual([
      ['DELETED', 'a'],
      ['ADDED', 'b'],
      ['ADDED', 'c'],
    ]);
  });

  test('a watch sends the present version in a bookmark before its timeout, and ends', async () => {
    await using scene = await makeScene();
    const path = servicesOf(scene);
    const { resourceVersion = '' } = (await createService(scene, 'a')).metadata;
    await using watch = openWatch(scene.client, path, { resourceVersion, timeoutSeconds: '4' });
    await createService(scene, 'b');
    expect((await watch.next()).type).toBe('ADDED');
    // A bookmark reports the version of changes outside the watch.
    const elsewhere = { ...scene, namespace: 'default' };
    const { metadata } = await createService(elsewhere, scene.namespace);
    await scene.client.delete(`${servicesOf(elsewhere)}/${scene.namespace}`, { signal });
    const bookmarks = await watch.rest();
    expect(new Set(bookmarks.map(({ type }) => type))).toEqual(new Set(['BOOKMARK']));
    const last = bookmarks.at(-1)?.object.metadata.resourceVersion ?? '';
    expect(isNewer(last, metadata.resourceVersion ?? '')).toBe(true);
  });

  test('a watch from a version is GONE if the changes since then are forgotten', async () => {
    await using scene = await makeScene();
    const resourceVersion = await scene.forgottenVersion();
    await using watch = openWatch(scene.client, servicesOf(scene), { resourceVersion });
    expect(await failureOf(watch.next())).toMatchObject({ code: 'GONE', status: 410 });
  });

  test('a watch from a future version does not report older changes', async () => {
    await using scene = await makeScene();
    const path = servicesOf(scene);
    const { resourceVersion = '' } = (await createService(scene, 'a')).metadata;
    await using watch = openWatch(scene.client, path, { resourceVersion: `${resourceVersion}0`, timeoutSeconds: '4' });
    await createService(scene, 'b');
    expect(await watch.rest()).toEqual([]);
  });

  test('a client without rights is FORBIDDEN to read, watch and write', async () => {
    await using scene = await makeScene();
    const { withoutRights: client } = scene;
    const path = servicesOf(scene);
    await using watch = openWatch(client, path, initialEvents);
    const requests = [
      () => client.list(path, { signal }),
      () => client.get(`${path}/a`, { signal }),
      () => client.create(path, bodyOf(scene, 'a'), { signal }),
      () => client.apply(`${path}/a/status`, statusOf(scene, 'a', 'uid', []), mine),
      () => watch.next(),
    ];
    for (const each of requests) expect(await failureOf(each())).toMatchObject({ code: 'FORBIDDEN', status: 403 });
  });
}
