import { expect, test } from 'vitest';
import { projectService } from '../../src/api/service.ts';
import { isNewer } from '../../src/kube/resource-version.ts';
import {
  type ApiServerScene,
  type Service,
  annotate,
  createService,
  failureOf,
  finalizersOf,
  mine,
  servicesOf,
  signal,
  statusOf,
  uidOf,
} from './api-server-requests.ts';

/** Writes to Services. */
export function writesContract(makeScene: () => Promise<ApiServerScene>): void {
  test('a Service gets its defaults, and a NodePort of its own for each port', async () => {
    await using scene = await makeScene();
    const made = [await createService(scene, 'a'), await createService(scene, 'b')];
    for (const { spec, status } of made) {
      expect(spec).toMatchObject({
        allocateLoadBalancerNodePorts: true,
        externalTrafficPolicy: 'Cluster',
        ipFamilies: ['IPv4'],
        ipFamilyPolicy: 'SingleStack',
        sessionAffinity: 'None',
        ports: [{ port: 80, protocol: 'TCP', nodePort: expect.any(Number) }],
      });
      expect(status).toEqual({ loadBalancer: {} });
    }
    expect(new Set(made.map(({ spec }) => spec.ports[0]?.nodePort)).size).toBe(2);
  });

  test('a write without changes creates no version', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const { metadata } = await createService(scene, 'a');
    const path = `${servicesOf(scene)}/a`;
    const first = await annotate(client, path, 'note');
    const second = await annotate(client, path, 'note');
    expect(isNewer(first.metadata.resourceVersion ?? '', metadata.resourceVersion ?? '')).toBe(true);
    expect(second.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
    expect((await client.replace<Service>(path, second, { signal })).metadata.resourceVersion).toBe(
      first.metadata.resourceVersion,
    );
  });

  test('a replacement of an older version is a CONFLICT; a write of the object leaves its status', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const old = await createService(scene, 'a');
    const path = `${servicesOf(scene)}/a`;
    const ingress = [{ ip: '203.0.113.1', ipMode: 'VIP' }];
    const current = await client.apply<Service>(`${path}/status`, statusOf(scene, 'a', uidOf(old), ingress), mine);
    expect(await failureOf(client.replace(path, old, { signal }))).toMatchObject({ code: 'CONFLICT', status: 409 });
    const next = { ...current, spec: { ...current.spec, sessionAffinity: 'ClientIP' }, status: { loadBalancer: {} } };
    expect(await client.replace(path, next, { signal })).toMatchObject({
      spec: { sessionAffinity: 'ClientIP' },
      status: { loadBalancer: { ingress } },
    });
  });

  test('an applied status is stored in full, its repetition creates no version, and an empty list clears it', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const uid = uidOf(await createService(scene, 'a'));
    const path = `${servicesOf(scene)}/a/status`;
    const ingress = [{ ip: '203.0.113.1', ipMode: 'Proxy', ports: [{ port: 80, protocol: 'TCP' }] }];
    const condition = {
      type: 'furiwake.dev/Serving',
      status: 'True',
      reason: 'Served',
      message: '',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    };
    const status = { ...statusOf(scene, 'a', uid, ingress).status, conditions: [condition] };
    const body = { ...statusOf(scene, 'a', uid, ingress), status };
    const first = await client.apply<Service>(path, body, mine);
    expect(first.status).toEqual({ loadBalancer: { ingress }, conditions: [condition] });
    const again = await client.apply<Service>(path, body, mine);
    expect(again.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
    const cleared = await client.apply<Service>(path, statusOf(scene, 'a', uid, []), mine);
    expect(cleared.status).toEqual({ loadBalancer: {} });
  });

  test('an address of another field manager is a CONFLICT without force, and is taken over by force', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const uid = uidOf(await createService(scene, 'a'));
    const path = `${servicesOf(scene)}/a/status`;
    const theirs = { ...mine, fieldManager: 'another' };
    const other = await client.apply<Service>(path, statusOf(scene, 'a', uid, [{ ip: '203.0.113.1' }]), theirs);
    expect(projectService(other).status.ingressManager).toBe('another');
    const body = statusOf(scene, 'a', uid, [{ ip: '203.0.113.2' }]);
    expect(await failureOf(client.apply(path, body, { ...mine, force: false }))).toMatchObject({
      code: 'CONFLICT',
      causes: [{ reason: 'FieldManagerConflict', field: '.status.loadBalancer.ingress' }],
    });
    const taken = await client.apply<Service>(path, body, mine);
    expect(taken.status.loadBalancer.ingress).toMatchObject([{ ip: '203.0.113.2' }]);
    expect(projectService(taken).status.ingressManager).toBe('furiwake');
    const edited = { ...taken, status: { loadBalancer: { ingress: [{ ip: '203.0.113.3' }] } } };
    const edit = await client.replace<Service>(path, edited, { signal });
    expect(edit.status.loadBalancer.ingress).toMatchObject([{ ip: '203.0.113.3' }]);
    const ours = await client.apply<Service>(path, statusOf(scene, 'a', uid, []), mine);
    expect(ours.status.loadBalancer).toEqual({});
  });

  test.each(['203.0.113.256', '203.0.113.010', 'web.example.com'])(
    'a status with the address "%s" is INVALID, and names the field',
    async (ip) => {
      await using scene = await makeScene();
      const uid = uidOf(await createService(scene, 'a'));
      const body = statusOf(scene, 'a', uid, [{ ip }]);
      expect(await failureOf(scene.client.apply(`${servicesOf(scene)}/a/status`, body, mine))).toMatchObject({
        code: 'INVALID',
        status: 422,
        causes: [{ field: expect.stringMatching(/^status\.loadBalancer\.ingress\[0\]/) }],
      });
    },
  );

  test('a status for another object of that name is INVALID, for a deleted one a CONFLICT', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const path = servicesOf(scene);
    const uid = uidOf(await createService(scene, 'a'));
    const other = 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee';
    expect(await failureOf(client.apply(`${path}/a/status`, statusOf(scene, 'a', other, []), mine))).toMatchObject({
      code: 'INVALID',
      status: 422,
      causes: [{ field: 'metadata.uid' }],
    });
    await client.delete(`${path}/a`, { signal });
    expect(await failureOf(client.apply(`${path}/a/status`, statusOf(scene, 'a', uid, []), mine))).toMatchObject({
      code: 'CONFLICT',
      status: 409,
      causes: [],
    });
  });

  test('a Service whose type changes from LoadBalancer loses its address, and another is INVALID', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const object = await createService(scene, 'a');
    const path = `${servicesOf(scene)}/a`;
    const body = statusOf(scene, 'a', uidOf(object), [{ ip: '203.0.113.1' }]);
    await client.apply(`${path}/status`, body, mine);
    const patch = [{ op: 'replace', path: '/spec/type', value: 'ClusterIP' }] as const;
    const changed = await client.jsonPatch<Service>(path, patch, { signal });
    expect(changed.status.loadBalancer).toEqual({});
    expect(await failureOf(client.apply(`${path}/status`, body, mine))).toMatchObject({
      code: 'INVALID',
      reason: 'Invalid',
      causes: [{ field: 'status.loadBalancer.ingress' }],
    });
  });

  test('finalizers are set by a patch that tests the object and its version; a failed test is INVALID', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const path = `${servicesOf(scene)}/a`;
    const set = finalizersOf(await createService(scene, 'a'), 'example.com/a', 'example.com/b');
    const first = await client.jsonPatch<Service>(path, set, { signal });
    expect(first.metadata.finalizers).toEqual(['example.com/a', 'example.com/b']);
    expect(await failureOf(client.jsonPatch(path, set, { signal }))).toMatchObject({
      code: 'INVALID',
      status: 422,
      causes: [],
    });
    const cleared = await client.jsonPatch<Service>(path, finalizersOf(first), { signal });
    expect(cleared.metadata.finalizers).toBeUndefined();
  });

  test('a deleted object stays until its last finalizer is removed, and refuses new ones', async () => {
    await using scene = await makeScene();
    const { client } = scene;
    const object = await createService(scene, 'a');
    const path = `${servicesOf(scene)}/a`;
    await client.jsonPatch(path, finalizersOf(object, 'example.com/a'), { signal });
    await client.delete(path, { signal });
    const ending = await client.get<Service>(path, { signal });
    expect(ending.metadata.deletionTimestamp).toEqual(expect.any(String));
    const more = finalizersOf(ending, 'example.com/a', 'example.com/b');
    expect(await failureOf(client.jsonPatch(path, more, { signal }))).toMatchObject({ code: 'INVALID', status: 422 });
    await client.jsonPatch(path, finalizersOf(ending), { signal });
    expect((await failureOf(client.get(path, { signal }))).code).toBe('NOT_FOUND');
    expect((await failureOf(client.delete(path, { signal }))).code).toBe('NOT_FOUND');
  });
}
