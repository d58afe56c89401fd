import { afterEach, expect, test, vi } from 'vitest';
import type { ServiceKey } from '../../src/core/model/names.ts';
import { startSimApiServer } from './apiserver.ts';
import { startController, startHost } from './controller-rig.ts';

const stack: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of stack.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

test('a Service of which all nodes are servers is in the table without endpoints while it has none', async () => {
  const server = await startSimApiServer({ seed: 1 });
  const host = startHost();
  stack.push(server, host);
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
  const putService = (name: string): void =>
    void server.put('Service', {
      metadata: { name, namespace: 'default' },
      spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }] },
    });
  const putEndpoints = (service: string, ...addresses: readonly string[]): void =>
    void server.put('EndpointSlice', {
      metadata: { name: `${service}-1`, namespace: 'default', labels: { 'kubernetes.io/service-name': service } },
      addressType: 'IPv4',
      endpoints: addresses.map((address) => ({ addresses: [address], nodeName: 'n1' })),
    });
  const without = (): readonly ServiceKey[] => [...(host.tables.at(-1)?.withoutEndpoints.keys() ?? [])];
  const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 5 });

  for (const name of ['web', 'unsliced']) putService(name);
  putEndpoints('web', '10.244.0.7');
  stack.push(await startController(server, host));
  await until(() => expect(host.tables.at(-1)?.listeners.size).toBe(2));
  expect(without()).toEqual([]);
  putEndpoints('web');
  await until(() => expect(without()).toEqual(['default/web']));
  const listeners = host.tables.at(-1)?.listeners;
  putEndpoints('web', '10.244.0.7');
  await until(() => expect(without()).toEqual([]));
  expect(host.tables.at(-1)?.listeners).toBe(listeners);
});
