import { expect, test } from 'vitest';
import { resourcePath } from '../../src/kube/paths.ts';
import {
  type ApiServerScene,
  type Service,
  createService,
  eventOn,
  failureOf,
  finalizersOf,
  initialEvents,
  mine,
  openWatch,
  servicesOf,
  signal,
  statusOf,
  uidOf,
} from './api-server-requests.ts';

/** What the API server adds to objects, and what it keeps of other clients. */
export function fieldsContract(makeScene: () => Promise<ApiServerScene>): void {
  test('a Service with the policy Local has a healthCheckNodePort of its own, until it has another policy', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const path = `${servicesOf(scene)}/a`;
    const made = await createService(scene, 'a');
    expect(made.spec).not.toHaveProperty('healthCheckNodePort');
    const policy = (value: string) => [{ op: 'replace', path: '/spec/externalTrafficPolicy', value }] as const;
    const local = await client.jsonPatch<Service>(path, policy('Local'), { signal });
    expect(local.spec).toMatchObject({ healthCheckNodePort: expect.any(Number) });
    expect(local.spec).not.toMatchObject({ healthCheckNodePort: made.spec.ports[0]?.nodePort });
    const cluster = await client.jsonPatch<Service>(path, policy('Cluster'), { signal });
    expect(cluster.spec).not.toHaveProperty('healthCheckNodePort');
  });

  test('a Service of two families has both, IPv4 first', async () => {
    await using scene = await makeScene();
    for (const ipFamilyPolicy of ['RequireDualStack', 'PreferDualStack']) {
      const body = {
        metadata: { name: ipFamilyPolicy.toLowerCase(), namespace: scene.namespace },
        spec: { type: 'LoadBalancer', ipFamilyPolicy, ports: [{ port: 80 }] },
      };
      const { spec } = await scene.client.create<Service>(servicesOf(scene), body, { signal });
      expect(spec).toMatchObject({ ipFamilies: ['IPv4', 'IPv6'] });
    }
  });

  test('a type other than LoadBalancer has no class; a class cannot be changed', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const path = `${servicesOf(scene)}/a`;
    const body = {
      metadata: { name: 'a', namespace: scene.namespace },
      spec: { type: 'LoadBalancer', loadBalancerClass: 'example.com/a', ports: [{ port: 80 }] },
    };
    await client.create(servicesOf(scene), body, { signal });
    const other = [{ op: 'replace', path: '/spec/loadBalancerClass', value: 'example.com/b' }] as const;
    expect(await failureOf(client.jsonPatch(path, other, { signal }))).toMatchObject({ code: 'INVALID', status: 422 });
    const type = [{ op: 'replace', path: '/spec/type', value: 'ClusterIP' }] as const;
    expect((await client.jsonPatch<Service>(path, type, { signal })).spec).not.toHaveProperty('loadBalancerClass');
  });

  test('an address without a mode has the mode VIP', async () => {
    await using scene = await makeScene();
    const uid = uidOf(await createService(scene, 'a'));
    const body = statusOf(scene, 'a', uid, [{ ip: '203.0.113.1' }]);
    const applied = await scene.client.apply<Service>(`${servicesOf(scene)}/a/status`, body, mine);
    expect(applied.status.loadBalancer.ingress).toEqual([{ ip: '203.0.113.1', ipMode: 'VIP' }]);
  });

  test('conditions of another manager stay, and those that are no longer applied go', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const uid = uidOf(await createService(scene, 'a'));
    const path = `${servicesOf(scene)}/a/status`;
    const condition = (type: string) => ({
      type,
      status: 'True',
      reason: 'Served',
      message: '',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    });
    const body = (...types: readonly string[]) => {
      const applied = statusOf(scene, 'a', uid, []);
      return { ...applied, status: { ...applied.status, conditions: types.map(condition) } };
    };
    await client.apply(path, body('example.com/theirs'), { ...mine, fieldManager: 'another' });
    await client.apply(path, body('furiwake.dev/A', 'furiwake.dev/B'), mine);
    const { status } = await client.apply<Service>(path, body('furiwake.dev/B'), mine);
    expect(status.conditions).toEqual(
      expect.arrayContaining([condition('example.com/theirs'), condition('furiwake.dev/B')]),
    );
    expect(status.conditions).toHaveLength(2);
  });

  test('a Service that is deleted is MODIFIED until its last finalizer is removed, and its status can be written', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const path = `${servicesOf(scene)}/a`;
    const made = await createService(scene, 'a');
    await client.jsonPatch(path, finalizersOf(made, 'example.com/a'), { signal });
    await using watch = openWatch(client, servicesOf(scene), initialEvents);
    expect((await watch.nextChange()).type).toBe('ADDED');
    await client.delete(path, { signal });
    const ending = await watch.nextChange();
    expect(ending).toMatchObject({ type: 'MODIFIED', object: { metadata: { deletionTimestamp: expect.any(String) } } });
    const body = statusOf(scene, 'a', uidOf(made), [{ ip: '203.0.113.1' }]);
    const shown = await client.apply<Service>(`${path}/status`, body, mine);
    expect(await watch.nextChange()).toMatchObject({ type: 'MODIFIED' });
    await client.jsonPatch(path, finalizersOf(shown), { signal });
    const last = [await watch.nextChange()];
    expect(last.map(({ type, object }) => [type, object.metadata.name])).toEqual([['DELETED', 'a']]);
  });

  test('an Event can be created with its series', async () => {
    await using scene = await makeScene();
    const events = resourcePath({ apiVersion: 'events.k8s.io/v1', plural: 'events' }, { namespace: scene.namespace });
    const series = { count: 2, lastObservedTime: '2026-01-01T00:00:00.000000Z' };
    const body = { ...eventOn(scene, 'web', 'note'), series };
    expect(await scene.client.create(events, body, { signal })).toMatchObject({ series });
  });
}
