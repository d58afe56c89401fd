import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { BackendId } from '../../src/core/model/names.ts';
import { ranges } from '../make/service.ts';
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
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
  server.put('Service', {
    metadata: { name: 'web', namespace: 'default', annotations: { 'furiwake.dev/backends': 'pods' } },
    spec: {
      type: 'LoadBalancer',
      ipFamilies: ['IPv4'],
      ports: [{ name: 'http', port: 80, protocol: 'TCP', nodePort: 30_080 }],
    },
  });
});

afterEach(async () => {
  for (const each of stack.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

function putEndpoints(port: number, ...addresses: readonly string[]): void {
  server.put('EndpointSlice', {
    metadata: { name: 'web-1', namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
    addressType: 'IPv4',
    ports: [{ name: 'http', protocol: 'TCP', port }],
    endpoints: addresses.map((address) => ({ addresses: [address], nodeName: 'n1' })),
  });
}

/** Sets the networks to which the host has routes; the next audit reads them. */
function route(routed: Parameters<SimHost['ports']['setRouted']>[0]): void {
  host.ports.setRouted(routed);
  host.ports.tellNetwork('addresses');
}

const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 5 });
const serving = (): string | undefined => shownCondition(server, 'default/web', 'Serving')?.reason;
/** The Pods in the last table that the host has; `undefined`: there is no such backend. */
const pods = (): string | undefined =>
  host.tables
    .at(-1)
    ?.pods.get('pods4:default/web:80' as BackendId)
    ?.pods.map(({ address, port, node }) => `${address.text}:${port} on ${node}`)
    .join();

test('the Pods of a Service follow its EndpointSlices and the routes of the host, and the status says so', async () => {
  putEndpoints(8080, '10.244.1.7', '10.244.1.8');
  route(ranges('10.244.0.0/16'));
  stack.push(await startController(server, host));
  await until(() => expect(pods()).toBe('10.244.1.7:8080 on n1,10.244.1.8:8080 on n1'));
  await until(() => expect(serving()).toBe('Serving'));
  const listeners = host.tables.at(-1)?.listeners;
  putEndpoints(9090, '10.244.1.9');
  await until(() => expect(pods()).toBe('10.244.1.9:9090 on n1'));
  expect(host.tables.at(-1)?.listeners).toBe(listeners);

  putEndpoints(9090, '10.244.1.9', '127.0.0.1');
  await until(() => expect(serving()).toBe('EndpointsRefused'));
  expect(pods()).toBe('10.244.1.9:9090 on n1');
  putEndpoints(9090, '10.244.1.9');
  await until(() => expect(serving()).toBe('Serving'));

  route([]);
  await until(() => expect(serving()).toBe('NoRouteToPods'));
  expect(pods()).toBeUndefined();
  route(ranges('10.244.0.0/16'));
  await until(() => expect(serving()).toBe('Serving'));
  expect(pods()).toBe('10.244.1.9:9090 on n1');
});

test('the Pods for connections of the host itself follow the EndpointSlices of a port without a nodePort', async () => {
  server.put('Service', {
    metadata: { name: 'web', namespace: 'default', annotations: { 'furiwake.dev/dataplane': 'direct' } },
    spec: {
      type: 'LoadBalancer',
      allocateLoadBalancerNodePorts: false,
      ipFamilies: ['IPv4'],
      ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
    },
  });
  const own = (): string | undefined =>
    host.tables
      .at(-1)
      ?.pods.get('own4:default/web:80/TCP' as BackendId)
      ?.pods.map(({ address, port }) => `${address.text}:${port}`)
      .join();
  putEndpoints(8080, '10.244.1.7', '10.9.9.9');
  route(ranges('10.244.0.0/16'));
  stack.push(await startController(server, host));
  await until(() => expect(own()).toBe('10.244.1.7:8080'));
  await until(() => expect(serving()).toBe('Serving'));
  putEndpoints(9090, '10.244.1.8');
  // By the change itself: ten seconds after the publication, the condition changes, which makes a plan as well.
  await vi.waitFor(() => expect(own()).toBe('10.244.1.8:9090'), { timeout: 5_000, interval: 5 });
  route([]);
  await until(() => expect(own()).toBe(''));
});
