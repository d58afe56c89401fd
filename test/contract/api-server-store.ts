import { expect, test, vi } from 'vitest';
import { feedStore, makeStore } from '../../src/kube/store.ts';
import { objectKey } from '../../src/kube/object.ts';
import { watchResource } from '../../src/kube/watcher.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import { silent } from '../make/log.ts';
import { recordMetrics } from '../sim/observers.ts';
import {
  annotate,
  type ApiServerScene,
  createService,
  type Service,
  servicesOf,
  signal,
} from './api-server-requests.ts';

type Kept = { readonly key: string; readonly note: string | undefined };

const project = ({ metadata }: Service): Kept => ({
  key: objectKey(metadata),
  note: metadata.annotations?.['note'],
});

/** A store that watches. */
export function storeContract(makeScene: () => Promise<ApiServerScene>): void {
  test('a store shows the answers to writes at once, keeps them, and in the end equals a list', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const path = servicesOf(scene);
    for (const name of ['a', 'b']) await createService(scene, name);
    const stop = new AbortController();
    const store = makeStore<Kept>({ keyOf: ({ key }) => key });
    const events = watchResource<Service, Kept>({
      client,
      path,
      project,
      newestAnswer: store.newestAnswer,
      signal: stop.signal,
      clock: systemClock,
      random: Math.random,
      metrics: recordMetrics(),
    });
    const watching = feedStore(store, events, {
      what: 'watching services',
      trouble: { failed: () => undefined, over: () => undefined },
      log: silent,
    });
    await store.synced;
    for (const note of ['first', 'second']) {
      const answer = await annotate(client, `${path}/a`, note);
      store.put(project(answer), answer.metadata.resourceVersion ?? '');
      expect(store.objects().get(`${scene.namespace}/a`)?.note).toBe(note);
    }
    await client.delete(`${path}/b`, { signal });
    const last = await createService(scene, 'c');
    await vi.waitUntil(() => store.versionOf(`${scene.namespace}/c`) === last.metadata.resourceVersion);
    const { items } = await client.list<Service>(path, { signal });
    expect(new Map(store.objects())).toEqual(new Map(items.map((item) => [objectKey(item.metadata), project(item)])));
    for (const { metadata } of items) expect(store.versionOf(objectKey(metadata))).toBe(metadata.resourceVersion);
    stop.abort();
    await watching;
  });
}
