import { afterEach, beforeEach, expect, test } from 'vitest';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { service } from './harness.ts';
import type { SimObject } from './kinds.ts';

/*
 * Rules of the real API server, from KEPs and source, on which other tests rely and which the client's tests do not
 * show.
 */
let server: SimApiServer;

beforeEach(async () => {
  server = await startSimApiServer({ seed: 11 });
});
afterEach(() => server[Symbol.asyncDispose]());

async function ask(
  method: string,
  path: string,
  body?: object,
  contentType = 'application/json',
): Promise<{ status: number; json: SimObject & { items?: SimObject[] } }> {
  const init = body === undefined ? {} : { body: JSON.stringify(body) };
  const answer = await fetch(server.url + path, {
    method,
    headers: { 'content-type': contentType, 'user-agent': 'tester/1' },
    ...init,
  });
  return { status: answer.status, json: (await answer.json()) as SimObject };
}

const web = '/api/v1/namespaces/default/services/web';
const apply = (manager: string, status: object): ReturnType<typeof ask> =>
  ask(
    'PATCH',
    `${web}/status?fieldManager=${manager}&force=true`,
    { metadata: { name: 'web' }, status },
    'application/apply-patch+yaml',
  );
const stored = (): SimObject | undefined => server.get('Service', 'default/web');

/** Managers and operations in managedFields, with their parts of the status. */
function owners(): readonly (readonly [string, string, readonly string[]])[] {
  const entries = (stored()?.metadata.managedFields ?? []) as {
    manager: string;
    operation: string;
    fieldsV1: { 'f:status': object };
  }[];
  return entries.map(({ manager, operation, fieldsV1 }) => [manager, operation, Object.keys(fieldsV1['f:status'])]);
}

test('the same seed gives the same uids', async () => {
  await using twin = await startSimApiServer({ seed: 11 });
  const uidOf = (from: SimApiServer): string | undefined => from.put('Service', service('web')).metadata.uid;
  expect(uidOf(server)).toBe(uidOf(twin));
});

test('a write of the object leaves its status, a write of the status leaves the object', async () => {
  server.put('Service', { ...service('web'), status: { loadBalancer: { ingress: [{ ip: '203.0.113.1' }] } } });
  const { json } = await ask('GET', web);
  const changed = { ...json, spec: { ...json.spec, sessionAffinity: 'ClientIP' }, status: { loadBalancer: {} } };
  await ask('PUT', web, changed);
  expect(stored()).toMatchObject({
    spec: { sessionAffinity: 'ClientIP' },
    status: { loadBalancer: { ingress: [{ ip: '203.0.113.1' }] } },
  });
  await ask('PUT', `${web}/status`, { ...changed, metadata: { name: 'web', namespace: 'default' }, spec: {} });
  expect(stored()).toMatchObject({ spec: { sessionAffinity: 'ClientIP' }, status: { loadBalancer: {} } });
});

test('an applier owns its fields, takes them from others by force, and loses them to an update', async () => {
  server.put('Service', service('web'));
  const condition = { type: 'furiwake.dev/Serving', status: 'True' };
  await apply('furiwake', { loadBalancer: { ingress: [{ ip: '203.0.113.1' }] }, conditions: [condition] });
  expect(owners()).toEqual([['furiwake', 'Apply', ['f:loadBalancer', 'f:conditions']]]);
  await ask('PUT', `${web}/status`, {
    ...stored(),
    status: { ...stored()?.status, loadBalancer: { ingress: [{ ip: '198.51.100.1' }] } },
  });
  expect(owners()).toEqual([
    ['furiwake', 'Apply', ['f:conditions']],
    ['tester', 'Update', ['f:loadBalancer']],
  ]);
  await apply('furiwake', { loadBalancer: { ingress: [{ ip: '203.0.113.1' }] } });
  expect(owners()).toEqual([['furiwake', 'Apply', ['f:loadBalancer']]]);
  expect(stored()?.status).toEqual({ loadBalancer: { ingress: [{ ip: '203.0.113.1', ipMode: 'VIP' }] } });
});

test('a namespace lists only its own objects', async () => {
  server.put('Service', service('web'));
  server.put('Service', { ...service('web'), metadata: { namespace: 'other', name: 'web' } });
  const { json } = await ask('GET', '/api/v1/namespaces/other/services');
  expect(json.items?.map(({ metadata }) => metadata.namespace)).toEqual(['other']);
});

test.each([
  [
    'an access review says yes',
    'POST',
    '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
    { spec: {} },
    201,
    { status: { allowed: true } },
  ],
  ['the version is there', 'GET', '/version', undefined, 200, { gitVersion: 'v1.37.2' }],
  ['the server is ready', 'GET', '/readyz', undefined, 200, {}],
  [
    'Service ranges are a list',
    'GET',
    '/apis/networking.k8s.io/v1/servicecidrs',
    undefined,
    200,
    { kind: 'ServiceCIDRList', items: [] },
  ],
  [
    'an unknown kind is not found',
    'GET',
    '/apis/example.com/v1/things',
    undefined,
    404,
    { kind: 'Status', reason: 'NotFound' },
  ],
  [
    'a known kind of another version is not found',
    'GET',
    '/apis/coordination.k8s.io/v2/leases',
    undefined,
    404,
    { reason: 'NotFound' },
  ],
] as const)('%s', async (_name, method, path, body, status, json) => {
  const answer = await ask(method, path, body);
  expect(answer.status).toBe(status);
  expect(Object(answer.json)).toMatchObject(json);
});
