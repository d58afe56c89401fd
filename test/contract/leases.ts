import { expect, test } from 'vitest';
import type { KubeClient } from '../../src/kube/client.ts';
import { leaseBody, type LeaseObject } from '../../src/kube/lease-object.ts';
import { resourcePath } from '../../src/kube/paths.ts';
import { failureOf, signal } from './api-server-requests.ts';

/** An API server, and a namespace in it without a Lease. */
export type LeaseScene = AsyncDisposable & {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'replace'>;
  readonly namespace: string;
  /** Deletes the Lease at this path. */
  remove(path: string): Promise<void>;
};

/** What furiwake relies on in an API server that holds its Lease. */
export function leasesContract(makeScene: () => Promise<LeaseScene>): void {
  const pathIn = (namespace: string): string =>
    resourcePath({ apiVersion: 'coordination.k8s.io/v1', plural: 'leases' }, { namespace });
  const bodyIn =
    (namespace: string) =>
    (identity: string, base?: LeaseObject, durationSeconds = 15): LeaseObject =>
      leaseBody({ namespace, name: 'lease', base, identity, durationSeconds, nowMs: 1_800_000_000_000 });

  test('a Lease is created once, and replaced only if its version has not changed', async () => {
    await using scene = await makeScene();
    const { client, namespace } = scene;
    const [leases, heldBy] = [pathIn(namespace), bodyIn(namespace)];
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
    const [leases, heldBy] = [pathIn(namespace), bodyIn(namespace)];
    const object = await client.create<LeaseObject>(leases, heldBy('one'), { signal });
    await scene.remove(`${leases}/lease`);
    expect((await failureOf(client.get(`${leases}/lease`, { signal }))).code).toBe('NOT_FOUND');
    expect((await failureOf(client.replace(`${leases}/lease`, heldBy('one', object), { signal }))).code).toBe(
      'CONFLICT',
    );
  });

  test('a Lease that was deleted and created again, and one without a version, cannot be replaced', async () => {
    await using scene = await makeScene();
    const { client, namespace } = scene;
    const [leases, heldBy] = [pathIn(namespace), bodyIn(namespace)];
    const first = await client.create<LeaseObject>(leases, heldBy('one'), { signal });
    await scene.remove(`${leases}/lease`);
    await client.create<LeaseObject>(leases, heldBy('one'), { signal });
    expect((await failureOf(client.replace(`${leases}/lease`, heldBy('one', first), { signal }))).code).toBe(
      'CONFLICT',
    );
    expect(await failureOf(client.replace(`${leases}/lease`, heldBy('one'), { signal }))).toMatchObject({
      code: 'INVALID',
    });
  });

  test('a released Lease keeps the empty holder; a duration of 0 is INVALID', async () => {
    await using scene = await makeScene();
    const { client, namespace } = scene;
    const [leases, heldBy] = [pathIn(namespace), bodyIn(namespace)];
    const first = await client.create<LeaseObject>(leases, heldBy('one'), { signal });
    const released = await client.replace<LeaseObject>(`${leases}/lease`, heldBy('', first, 1), { signal });
    expect(released.spec).toMatchObject({ holderIdentity: '', leaseDurationSeconds: 1 });
    const none = client.replace(`${leases}/lease`, heldBy('two', released, 0), { signal });
    expect(await failureOf(none)).toMatchObject({ code: 'INVALID', status: 422 });
  });
}
