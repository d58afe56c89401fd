import { afterEach, expect, test, vi } from 'vitest';
import { startSimApiServer } from './apiserver.ts';
import { startController, startHost } from './controller-rig.ts';

const stack: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of stack.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

test('a port of which all nodes are servers is in the table without endpoints while it has none', async () => {
  const server = await startSimApiServer({ seed: 1 });
  const host = startHost();
  stack.push(server, host);
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
  const ports = [80, 81].map((port) => ({ name: `p${port}`, port, protocol: 'TCP', nodePort: 30_000 + port }));
  const putService = (name: string): void =>
    void server.put('Service', {
      metadata: { name, namespace: 'default' },
      spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports },
    });
  const putEndpoints = (service: string, names: readonly string[], ...addresses: readonly string[]): void =>
    void server.put('EndpointSlice', {
      metadata: { name: `${service}-1`, namespace: 'default', labels: { 'kubernetes.io/service-name': service } },
      addressType: 'IPv4',
      ports: names.map((name) => ({ name, port: 8080, protocol: 'TCP' })),
      endpoints: addresses.map((address) => ({ addresses: [address], nodeName: 'n1' })),
    });
  const without = (): readonly string[] => {
    const table = host.tables.at(-1);
    const keys = [...(table?.withoutEndpoints?.keys() ?? [])];
    return keys
      .flatMap((key) => table?.listeners.get(key) ?? [])
      .map(({ service, port }) => `${service} ${port}`)
      .toSorted();
  };
  const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 5 });
  const both = ['p80', 'p81'];

  for (const name of ['web', 'unsliced']) putService(name);
  putEndpoints('web', both, '10.244.0.7');
  stack.push(await startController(server, host));
  const unsliced = ['default/unsliced 80', 'default/unsliced 81'];
  await until(() => expect(host.tables.at(-1)?.listeners.size).toBe(4));
  await until(() => expect(without()).toEqual(unsliced));
  putEndpoints('web', []);
  await until(() => expect(without()).toEqual([...unsliced, 'default/web 80', 'default/web 81']));
  const listeners = host.tables.at(-1)?.listeners;
  putEndpoints('web', ['p80'], '10.244.0.7');
  await until(() => expect(without()).toEqual([...unsliced, 'default/web 81']));
  putEndpoints('web', both, '10.244.0.7');
  await until(() => expect(without()).toEqual(unsliced));
  putEndpoints('unsliced', both, '10.244.0.8');
  await until(() => expect(without()).toEqual([]));
  expect(host.tables.at(-1)?.listeners).toBe(listeners);
});
