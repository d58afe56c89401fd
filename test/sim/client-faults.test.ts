import { expect, test } from 'vitest';
import { writeConcurrency } from '../../src/controller/assemble.ts';
import { isKubeError, type KubeError } from '../../src/kube/errors.ts';
import { finalizerPatch, statusBody } from '../../src/kube/write-bodies.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { resourcePath } from '../../src/kube/paths.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type Harness, makeHarness, service, until } from './harness.ts';
import { type VirtualClock, virtualClock } from './virtual-clock.ts';

type Service = KubeObject & {
  readonly spec: { readonly type: string };
  readonly status: { readonly loadBalancer: { readonly ingress?: readonly { readonly ip: string }[] } };
};

const services = { apiVersion: 'v1', plural: 'services' };
const web = resourcePath(services, { namespace: 'default', name: 'web' });
const webStatus = `${web}/status`;
const mine = { fieldManager: 'furiwake', force: true };

async function scene(): Promise<
  {
    server: SimApiServer;
    harness: Harness;
    clock: VirtualClock;
    object: Required<Service['metadata']>;
  } & AsyncDisposable
> {
  const server = await startSimApiServer({ seed: 7 });
  const object = server.put('Service', service('web')).metadata as Required<Service['metadata']>;
  const clock = virtualClock();
  const harness = await makeHarness(server, { clock });
  return {
    server,
    harness,
    clock,
    object,
    [Symbol.asyncDispose]: async () => {
      await harness[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

async function failureOf(promise: Promise<unknown>): Promise<KubeError> {
  const error = await promise.then(
    () => new Error('it did not fail'),
    (cause: unknown) => cause,
  );
  if (!isKubeError(error)) throw error;
  return error;
}

const statusOf = (uid: string, ingress: readonly object[]): object =>
  statusBody(
    { apiVersion: 'v1', kind: 'Service', namespace: 'default', name: 'web', uid },
    { loadBalancer: { ingress } },
  );

test('after a 429 the client waits for the requested time, for any verb', async () => {
  await using all = await scene();
  const { server, harness, clock } = all;
  server.faults.next({ mishap: { answer: 429, retryAfterSeconds: 3 }, times: 2 });
  const answer = harness.client.create<Service>('/api/v1/namespaces/default/services', service('new'), {
    signal: harness.signal,
  });
  for (let turn = 1; turn <= 2; turn += 1) {
    await clock.untilSleeping(3_000, 6_000);
    expect(server.requests).toHaveLength(turn);
    await clock.advance(7_000);
  }
  expect((await answer).metadata.name).toBe('new');
});

test('a Retry-After beyond the deadline is left to the caller', async () => {
  await using all = await scene();
  const { server, harness } = all;
  server.faults.next({ mishap: { answer: 429, retryAfterSeconds: 60 } });
  const error = await failureOf(harness.client.get(web, { signal: harness.signal }));
  expect([error.code, error.retryAfterMs, server.requests.length]).toEqual(['THROTTLED', 60_000, 1]);
});

test.each([
  ['get', 503, 2, true],
  ['get', 503, undefined, false],
  ['apply', 500, 1, true],
  ['patch', 503, 2, false],
  ['create', 500, 2, false],
] as const)('%s after HTTP %i with Retry-After %s is retried: %s', async (verb, answer, retryAfterSeconds, isTried) => {
  await using all = await scene();
  const { server, harness, clock, object } = all;
  const { signal } = harness;
  server.faults.next({ mishap: { answer, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) } });
  const requests = {
    get: () => harness.client.get(web, { signal }),
    apply: () => harness.client.apply(webStatus, statusOf(object.uid, []), { ...mine, signal }),
    patch: () => harness.client.jsonPatch(web, finalizerPatch({ ...object, finalizers: ['a/b'] }), { signal }),
    create: () => harness.client.create('/api/v1/namespaces/default/services', service('new'), { signal }),
  };
  const settled = requests[verb]().then(
    () => 'done',
    (error: KubeError) => error.code,
  );
  if (isTried) {
    await clock.untilSleeping((retryAfterSeconds ?? 0) * 1_000, 10_000);
    await clock.advance(10_000);
  }
  expect(await settled).toBe(isTried ? 'done' : 'SERVER');
  expect(server.requests).toHaveLength(isTried ? 2 : 1);
});

test('after a broken connection only idempotent requests are repeated', async () => {
  await using all = await scene();
  const { server, harness, clock, object } = all;
  const { signal } = harness;
  server.faults.next({ mishap: 'lost-answer', on: ({ verb }) => verb === 'apply' });
  const applied = harness.client.apply<Service>(webStatus, statusOf(object.uid, [{ ip: '203.0.113.1' }]), {
    ...mine,
    signal,
  });
  await clock.untilSleeping(0, 100);
  await clock.advance(100);
  expect((await applied).status.loadBalancer.ingress).toHaveLength(1);

  server.faults.next({ mishap: 'lost-answer', on: ({ verb }) => verb === 'create' });
  const path = '/api/v1/namespaces/default/services';
  expect((await failureOf(harness.client.create(path, service('new'), { signal }))).code).toBe('UNREACHABLE');
  expect((await failureOf(harness.client.create(path, service('new'), { signal }))).code).toBe('ALREADY_EXISTS');
});

test('a request that is never answered fails at the deadline', async () => {
  await using all = await scene();
  const { server, harness, clock } = all;
  server.faults.next({ mishap: 'hang' });
  const failed = failureOf(harness.client.get(web, { signal: harness.signal, timeoutMs: 5_000 }));
  await until(() => server.requests.length === 1);
  await clock.advance(5_000);
  expect((await failed).code).toBe('TIMEOUT');
});

test('as many writes as there may be at a time, without an answer, do not delay the Lease', async () => {
  await using all = await scene();
  const { server, harness } = all;
  const stop = new AbortController();
  server.faults.next({ mishap: 'hang', times: Number.POSITIVE_INFINITY, on: ({ verb }) => verb === 'patch' });
  const writes = Array.from({ length: 2 * writeConcurrency }, () =>
    harness.client.jsonPatch(web, [], { signal: stop.signal }).catch(() => undefined),
  );
  await until(() => server.requests.length === writes.length);
  const leases = resourcePath({ apiVersion: 'coordination.k8s.io/v1', plural: 'leases' }, { namespace: 'default' });
  const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'l' } };
  const timely = { signal: AbortSignal.timeout(3_000) };
  expect(await harness.client.create(leases, lease, timely)).toMatchObject({ metadata: { name: 'l' } });
  stop.abort();
  await Promise.all(writes);
});

test("an abort of the caller ends a request with the caller's reason", async () => {
  await using all = await scene();
  const { server, harness } = all;
  const stop = new AbortController();
  server.faults.next({ mishap: 'hang' });
  const request = harness.client.create('/api/v1/namespaces/default/services', service('new'), { signal: stop.signal });
  await until(() => server.requests.length === 1);
  const reason = new Error('enough');
  stop.abort(reason);
  await expect(request).rejects.toBe(reason);
  await expect(harness.client.get(web, { signal: stop.signal })).rejects.toBe(reason);
  expect(server.requests).toHaveLength(1);
});

test('a token that stays rejected is one more request, and UNAUTHORIZED', async () => {
  await using server = await startSimApiServer({ seed: 8 });
  server.faults.tokens = new Set(['right']);
  const files = new Map([['/token', 'wrong']]);
  const kubeconfig = JSON.stringify({
    ...(JSON.parse(server.kubeconfig()) as object),
    users: [{ name: 'sim', user: { tokenFile: '/token' } }],
  });
  const clock = virtualClock();
  await using harness = await makeHarness(server, { clock, kubeconfig, files });
  const { signal } = harness;
  expect((await failureOf(harness.client.get('/version', { signal }))).code).toBe('UNAUTHORIZED');
  expect(server.requests).toHaveLength(1); // the file holds the same
  files.set('/token', 'wrong too');
  await clock.advance(1_000);
  expect((await failureOf(harness.client.get('/version', { signal }))).code).toBe('UNAUTHORIZED');
  expect(server.requests).toHaveLength(3);
  files.set('/token', 'right');
  await clock.advance(1_000);
  expect(await harness.client.get('/version', { signal })).toMatchObject({ gitVersion: 'v1.37.2' });
  files.delete('/token');
  await clock.advance(1_000);
  server.faults.tokens = new Set();
  expect((await failureOf(harness.client.get('/version', { signal }))).code).toBe('CREDENTIALS');
});

test('a port without a listener is UNREACHABLE, and the message names it', async () => {
  const server = await startSimApiServer({ seed: 9 });
  const clock = virtualClock();
  await using harness = await makeHarness(server, { clock });
  await server[Symbol.asyncDispose]();
  const failed = failureOf(harness.client.get(web, { signal: harness.signal }));
  await clock.untilSleeping(0, 100);
  await clock.advance(1_000);
  const error = await failed;
  expect(error.code).toBe('UNREACHABLE');
  expect(error.message).toMatch(/^connection refused by 127\.0\.0\.1:\d+$/);
});

test('requests are counted by verb, resource and status', async () => {
  await using all = await scene();
  const { harness } = all;
  await harness.client.get(web, { signal: harness.signal });
  await failureOf(harness.client.get(`${web}x`, { signal: harness.signal }));
  const total = (labels: Record<string, string>): number =>
    harness.metrics.total('furiwake_api_requests_total', labels);
  expect(total({ verb: 'get', resource: 'services', code: '200' })).toBe(1);
  expect(total({ verb: 'get', resource: 'services', code: '404' })).toBe(1);
});
