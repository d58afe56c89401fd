import { describe, expect, test } from 'vitest';
import { resourcePath } from '../../src/kube/paths.ts';
import { fieldsContract } from './api-server-fields.ts';
import { readsContract } from './api-server-reads.ts';
import {
  type ApiServerScene,
  type Service,
  createService,
  eventOn,
  failureOf,
  finalizersOf,
  servicesOf,
  signal,
} from './api-server-requests.ts';
import { leasesContract } from './leases.ts';
import { storeContract } from './api-server-store.ts';
import { writesContract } from './api-server-writes.ts';

const eventResource = { apiVersion: 'events.k8s.io/v1', plural: 'events' };

/** What furiwake relies on in an API server. */
export function apiServerContract(name: string, makeScene: () => Promise<ApiServerScene>): void {
  describe(`API server contract: ${name}`, () => {
    readsContract(makeScene);
    storeContract(makeScene);
    writesContract(makeScene);
    fieldsContract(makeScene);
    leasesContract(async () => {
      const scene = await makeScene();
      const { client, namespace } = scene;
      return {
        client,
        namespace,
        remove: async (path) => {
          await client.delete(path, { signal });
        },
        [Symbol.asyncDispose]: () => scene[Symbol.asyncDispose](),
      };
    });
    eventsContract(makeScene);
  });
}

function eventsContract(makeScene: () => Promise<ApiServerScene>): void {
  test('an Event is created once, and its series grows by a patch', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const events = resourcePath(eventResource, { namespace: scene.namespace });
    const body = eventOn(scene, 'web', 'assigned 203.0.113.1');
    await client.create(events, body, { signal });
    expect((await failureOf(client.create(events, body, { signal }))).code).toBe('ALREADY_EXISTS');
    const series = { count: 2, lastObservedTime: '2026-01-01T00:00:00.000000Z' };
    const patch = [{ op: 'add', path: '/series', value: series }] as const;
    expect(await client.jsonPatch(`${events}/web.suffix`, patch, { signal })).toMatchObject({ series });
    expect((await failureOf(client.jsonPatch(`${events}/other`, patch, { signal }))).code).toBe('NOT_FOUND');
  });

  test('an Event with a note of 1,024 bytes is accepted, a longer one is INVALID', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const events = resourcePath(eventResource, { namespace: scene.namespace });
    await client.create(events, eventOn(scene, 'a', 'x'.repeat(1_024)), { signal });
    const tooLong = client.create(events, eventOn(scene, 'b', 'x'.repeat(1_025)), { signal });
    expect(await failureOf(tooLong)).toMatchObject({ code: 'INVALID', status: 422 });
  });

  test('a new object is NOT_FOUND in a missing namespace, and FORBIDDEN in one that is being deleted', async () => {
    await using scene = await makeScene();
    const { client, namespace } = scene;
    const events = resourcePath(eventResource, { namespace });
    const missing = resourcePath(eventResource, { namespace: `${namespace}-missing` });
    const elsewhere = eventOn({ namespace: `${namespace}-missing` }, 'web', 'note');
    expect((await failureOf(client.create(missing, elsewhere, { signal }))).code).toBe('NOT_FOUND');
    const object = await createService(scene, 'a');
    const path = `${servicesOf(scene)}/a`;
    await client.jsonPatch(path, finalizersOf(object, 'example.com/a'), { signal });
    await client.delete(resourcePath({ apiVersion: 'v1', plural: 'namespaces' }, { name: namespace }), { signal });
    expect(await failureOf(client.create(events, eventOn(scene, 'web', 'note'), { signal }))).toMatchObject({
      code: 'FORBIDDEN',
      status: 403,
      causes: [{ reason: 'NamespaceTerminating' }],
    });
    const { metadata } = await client.get<Service>(path, { signal });
    await client.jsonPatch(path, finalizersOf({ metadata }), { signal });
  });
}
