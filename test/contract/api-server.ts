import { describe, expect, test } from 'vitest';
import { leaseBody, type LeaseObject } from '../../src/kube/lease-object.ts';
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
import { storeContract } from './api-server-store.ts';
import { writesContract } from './api-server-writes.ts';

const leaseResource = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases' };
const eventResource = { apiVersion: 'events.k8s.io/v1', plural: 'events' };

/** What furiwake relies on in an API server. */
export function apiServerContract(name: string, makeScene: () => Promise<ApiServerScene>): void {
  describe(`API server contract: ${name}`, () => {
    readsContract(makeScene);
    storeContract(makeScene);
    writesContract(makeScene);
    fieldsContract(makeScene);
    leasesAndEventsContract(makeScene);
  });
}

function leasesAndEventsContract(makeScene: () => Promise<ApiServerScene>): void {
  test('a Lease is created once, and replaced only if its version has not changed', async () => {
    await using scene = await makeScene();
    const { client, namespace } = scene;
    const leases = resourcePath(leaseResource, { namespace });
    const heldBy = (identity: string, base?: LeaseObject): LeaseObject =>
      leaseBody({ namespace, name: 'lease', base, identity, durationSeconds: 15, nowMs: 1_800_000_000_000 });
    const first = await client.create<LeaseObject>(leases, heldBy('one'), { signal });
    expect(await failureOf(client.create(leases, heldBy('two'), { signal }))).toMatchObject({
      code: 'ALREADY_EXISTS',
      status: 409,
    });
    const second = await client.replace<LeaseObject>(`${leases}/lease`, heldBy('two', first), { signal });
    expect(second.spec).toEqual(heldBy('two', first).spec);
    expect((await failureOf(client.replace(`${leases}/lease`, heldBy('one', first), { signal }))).code).toBe(
      'CONFLICT',
    );
    expect((await client.get<LeaseObject>(`${leases}/lease`, { signal })).spec.holderIdentity).toBe('two');
  });

  test('a Lease that was deleted cannot be replaced', async () => {
    await using scene = await makeScene();
    const { client, namespace } = scene;
    const leases = resourcePath(leaseResource, { namespace });
    const lease = (base?: LeaseObject): LeaseObject =>
      leaseBody({ namespace, name: 'lease', base, identity: 'one', durationSeconds: 15, nowMs: 1_800_000_000_000 });
    const object = await client.create<LeaseObject>(leases, lease(), { signal });
    await client.delete(`${leases}/lease`, { signal });
    expect((await failureOf(client.get(`${leases}/lease`, { signal }))).code).toBe('NOT_FOUND');
    expect((await failureOf(client.replace(`${leases}/lease`, lease(object), { signal }))).code).toBe('CONFLICT');
  });

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
