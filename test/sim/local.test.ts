import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { BackendId } from '../../src/core/model/names.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type SimHost, startController, startHost } from './controller-rig.ts';
import { shownCondition } from './shown-status.ts';

let server: SimApiServer;
let host: SimHost;
const stack: AsyncDisposable[] = [];

beforeEach(async () => {
  server = await startSimApiServer({ seed: 1 });
  host = startHost();
  stack.push(server, host);
  for (const index of [1, 2, 3])
    server.put('Node', {
      metadata: { name: `n${index}` },
      status: { addresses: [{ type: 'InternalIP', address: `192.0.2.1${index}` }] },
    });
  server.put('Service', {
    metadata: { name: 'web', namespace: 'default' },
    spec: {
      type: 'LoadBalancer',
      ipFamilies: ['IPv4'],
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: 32_000,
      ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }],
    },
  });
});

afterEach(async () => {
  for (const each of stack.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

function putEndpoints(...nodes: readonly string[]): void {
  server.put('EndpointSlice', {
    metadata: { name: 'web-1', namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
    addressType: 'IPv4',
    ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    endpoints: nodes.map((nodeName, index) => ({ addresses: [`10.244.0.${index}`], nodeName })),
  });
}

function putEndpointsAt(nodeName: string, ...addresses: readonly string[]): void {
  server.put('EndpointSlice', {
    metadata: { name: 'web-1', namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
    addressType: 'IPv4',
    ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    endpoints: addresses.map((address) => ({ addresses: [address], nodeName })),
  });
}

const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 5 });
const serving = (): string | undefined => {
  const found = shownCondition(server, 'default/web', 'Serving');
  return found && `${found.reason}: ${found.message}`;
};
/** The servers of the Service in the last table that the host has; `undefined`: they are not known. */
const servers = (): string | undefined =>
  host.tables
    .at(-1)
    ?.backends.get('local4:default/web' as BackendId)
    ?.servers.map(({ node, weight }) => `${node} ${weight}`)
    .join();

test('the nodes of a Service follow its EndpointSlices, without a change of the Service', async () => {
  putEndpoints('n1', 'n1', 'n3', 'unknown');
  stack.push(await startController(server, host));
  await until(() => expect(servers()).toBe('n1 2,n3 1'));
  await until(() => expect(serving()).toMatch(/^FieldsNotHonoured: serving, but externalTrafficPolicy=Local/));
  const listeners = host.tables.at(-1)?.listeners;
  putEndpoints('n2');
  // By the change itself: ten seconds after the publication, the condition changes, which makes a plan as well.
  await vi.waitFor(() => expect(servers()).toBe('n2 1'), { timeout: 5_000, interval: 5 });
  expect(host.tables.at(-1)?.listeners).toBe(listeners);
});

test('while the EndpointSlices cannot be read, the Service is served, and its nodes are not known', async () => {
  putEndpoints('n1');
  server.faults.next({ mishap: 'hang', times: 100, on: ({ resource }) => resource === 'endpointslices' });
  stack.push(await startController(server, host));
  await until(() => expect([...(host.tables.at(-1)?.listeners.keys() ?? [])]).toHaveLength(1));
  expect(servers()).toBeUndefined();
});

test('a Service without any endpoint does not speak of nodes', async () => {
  stack.push(await startController(server, host));
  await until(() => expect(serving()).toMatch(/^NoEndpoints: the Service has no ready endpoints(?! on)/));
});

test('a Service whose endpoints are on no node in use says so', async () => {
  putEndpoints('unknown');
  stack.push(await startController(server, host));
  await until(() =>
    expect(serving()).toMatch(/^NoEndpoints: the Service has no ready endpoints on a node that is in use/),
  );
  putEndpoints('n1');
  await until(() => expect(serving()).toMatch(/^FieldsNotHonoured/));
});

test('an endpoint that cannot be a Pod gives its node no connections, and the Service says so as long as it is there', async () => {
  putEndpointsAt('n2', '10.244.0.7');
  stack.push(await startController(server, host));
  await until(() => expect(servers()).toBe('n2 1'));
  putEndpointsAt('n2', '10.244.0.7', '127.0.0.1');
  await until(() => expect(serving()).toMatch(/^EndpointsRefused: .*"127\.0\.0\.1" \(loopback address\)/));
  expect(servers()).toBe('n2 1');
  putEndpointsAt('n2', '127.0.0.1');
  await until(() => expect(servers()).toBe(''));
  await until(() => expect(serving()).toMatch(/^EndpointsRefused/));
  putEndpointsAt('n2', '10.244.0.7');
  await until(() => expect(serving()).toMatch(/^FieldsNotHonoured/));
});
