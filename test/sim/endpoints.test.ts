import { afterEach, expect, test, vi } from 'vitest';
import { startSimApiServer } from './apiserver.ts';
import { startController, startHost } from './controller-rig.ts';
import { shownCondition } from './shown-status.ts';
import { fastClock } from './virtual-clock.ts';

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

test('a port whose targetPort no Pod has is said to refuse connections, alone or beside others, until a Pod has it', async () => {
  const server = await startSimApiServer({ seed: 1 });
  const host = startHost({ clock: fastClock(20) });
  stack.push(server, host);
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
  const put = (name: string, names: readonly string[]): void => {
    server.put('Service', {
      metadata: { name, namespace: 'default' },
      spec: {
        type: 'LoadBalancer',
        ipFamilies: ['IPv4'],
        ports: names.map((port, index) => ({
          name: port,
          port: 80 + index,
          protocol: 'TCP',
          nodePort: 30_080 + index,
        })),
      },
    });
  };
  const putEndpoints = (service: string, ...names: readonly string[]): void =>
    void server.put('EndpointSlice', {
      metadata: { name: `${service}-1`, namespace: 'default', labels: { 'kubernetes.io/service-name': service } },
      addressType: 'IPv4',
      ports: names.map((name) => ({ name, port: 8080, protocol: 'TCP' })),
      endpoints: [{ addresses: ['10.244.0.7'], nodeName: 'n1' }],
    });
  const serving = (name: string): string | undefined => {
    const found = shownCondition(server, `default/${name}`, 'Serving');
    return found === undefined ? undefined : `${found.status} ${found.reason}: ${found.message}`;
  };
  const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 5 });

  put('alone', ['p']);
  put('beside', ['p', 'q']);
  putEndpoints('alone');
  putEndpoints('beside', 'p');
  stack.push(await startController(server, host, { clock: fastClock(20) }));
  await until(() =>
    expect(serving('alone')).toBe('False NoEndpoints: no ready endpoint has the targetPort of a port of the Service'),
  );
  await until(() => expect(serving('beside')).toMatch(/^True PartlyServing: port 81 of .* has no ready endpoints$/));
  putEndpoints('alone', 'p');
  putEndpoints('beside', 'p', 'q');
  await until(() => expect(serving('alone')).toMatch(/^True Serving/));
  await until(() => expect(serving('beside')).toMatch(/^True Serving/));
});

test('while EndpointSlices cannot be watched, a new Service is not called one without endpoints, and connections are not refused', async () => {
  const server = await startSimApiServer({ seed: 1 });
  const host = startHost({ clock: fastClock(40) });
  stack.push(server, host);
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
  const put = (name: string): void =>
    void server.put('Service', {
      metadata: { name, namespace: 'default' },
      spec: {
        type: 'LoadBalancer',
        ipFamilies: ['IPv4'],
        ports: [{ name: 'p', port: 80, protocol: 'TCP', nodePort: 30_080 }],
      },
    });
  const serving = (name: string): string | undefined => shownCondition(server, `default/${name}`, 'Serving')?.reason;
  const refused = (): number => host.tables.at(-1)?.withoutEndpoints?.size ?? -1;
  const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 5 });
  put('empty');
  stack.push(await startController(server, host, { clock: fastClock(40), addresses: ['192.0.2.8-192.0.2.15'] }));
  await until(() => expect(serving('empty')).toBe('NoEndpoints'));
  expect(refused()).toBe(1);
  let isForbidden = true;
  server.faults.next({
    mishap: { answer: 403 },
    times: Number.POSITIVE_INFINITY,
    on: ({ resource }) => isForbidden && resource === 'endpointslices',
  });
  server.faults.restart();
  put('later');
  await until(() => expect([serving('empty'), serving('later'), refused()]).toEqual(['Serving', 'Serving', 0]));
  isForbidden = false;
  await until(() => expect([serving('empty'), serving('later'), refused()]).toEqual(['NoEndpoints', 'NoEndpoints', 2]));
});
