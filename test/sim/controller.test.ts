import { afterEach, describe, expect, test, vi } from 'vitest';
import { serviceKey } from '../../src/core/model/names.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import type { SimObject } from './kinds.ts';
import { startController, startHost as startSimHost } from './controller-rig.ts';
import { fastClock } from './virtual-clock.ts';
import { shownCondition, shownIps, shownStatus } from './shown-status.ts';

let server: SimApiServer;
const stack: AsyncDisposable[] = [];

async function start(options: Partial<Parameters<typeof startSimApiServer>[0]> = {}): Promise<SimApiServer> {
  server = await startSimApiServer({ seed: 1, ...options });
  stack.push(server);
  server.put('Node', {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
  return server;
}

/** A host that ends with the test. */
const startHost: typeof startSimHost = (options) => {
  const host = startSimHost(options);
  stack.push(host);
  return host;
};

afterEach(async () => {
  for (const each of stack.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

function makeWire(name: string, spec: object = {}, metadata: object = {}): SimObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default', ...metadata },
    spec: {
      type: 'LoadBalancer',
      ipFamilies: ['IPv4'],
      ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }],
      ...spec,
    },
  };
}

function service(name: string): SimObject | undefined {
  return server.get('Service', `default/${name}`);
}

const shownIp = (name: string): string | undefined => shownIps(server, `default/${name}`)[0];
const reason = (name: string, type: 'AddressAssigned' | 'Serving'): string | undefined =>
  shownCondition(server, `default/${name}`, type)?.reason;
const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 25_000, interval: 5 });
const writes = (): readonly string[] =>
  server.requests
    .filter(({ verb }) => verb !== 'watch' && verb !== 'list')
    .map(({ verb, resource }) => `${verb} ${resource}`);

describe('a Service', () => {
  test('gets finalizers, then a row on the host, then its status, with two writes', async () => {
    await start();
    const host = startHost();
    stack.push(await startController(server, host));
    server.put('Service', makeWire('a'));
    await until(() => expect(shownIp('a')).toBe('192.0.2.8'));
    expect(service('a')?.metadata.finalizers).toEqual([
      'furiwake.dev/cleanup',
      'service.kubernetes.io/load-balancer-cleanup',
    ]);
    expect(writes()).toEqual(['patch services', 'apply services/status']);
  });

  test('is never on the host before its finalizers are on it', async () => {
    await start();
    server.faults.next({
      mishap: { answer: 500 },
      on: ({ verb, resource }) => verb === 'patch' && resource === 'services',
      times: 3,
    });
    const early: string[] = [];
    const host = startHost({
      onPublish: (table) => {
        const isBound = (service('a')?.metadata.finalizers ?? []).includes('furiwake.dev/cleanup');
        if (table.listeners.size > 0 && !isBound) early.push('too early');
      },
    });
    stack.push(await startController(server, host));
    server.put('Service', makeWire('a'));
    await until(() => expect(shownIp('a')).toBe('192.0.2.8'));
    expect(early).toEqual([]);
  });

  test('is released when it is deleted, after the host has removed it', async () => {
    await start();
    const host = startHost();
    stack.push(await startController(server, host));
    server.put('Service', makeWire('a'));
    await until(() => expect(shownIp('a')).toBe('192.0.2.8'));
    server.remove('Service', 'default/a');
    await until(() => expect(service('a')).toBeUndefined());
    expect(host.ports.held.proxy.size).toBe(0);
  });

  test('that was deleted while furiwake was stopped is cleaned up by the next start', async () => {
    await start();
    const files = new Map<string, string>();
    const host = startHost();
    const first = await startController(server, host, { files });
    server.put('Service', makeWire('a'));
    await until(() => expect(shownIp('a')).toBe('192.0.2.8'));
    await first[Symbol.asyncDispose]();
    server.remove('Service', 'default/a');
    expect(service('a')).toBeDefined();
    stack.push(await startController(server, host, { files }));
    await until(() => expect(service('a')).toBeUndefined());
  });

  test('keeps its address across a restart, even if the state directory is lost', async () => {
    await start();
    const host = startHost();
    const first = await startController(server, host);
    server.put('Service', makeWire('a'));
    await until(() => expect(shownIp('a')).toBe('192.0.2.8'));
    server.put('Service', makeWire('b'));
    await until(() => expect(shownIp('b')).toBe('192.0.2.9'));
    await first[Symbol.asyncDispose]();
    server.remove('Service', 'default/a');
    stack.push(await startController(server, startHost()));
    await until(() => expect(service('a')).toBeUndefined());
    expect(shownIp('b')).toBe('192.0.2.9');
  });

  test('that waits for a port gets it when its holder is deleted', async () => {
    await start();
    stack.push(await startController(server, startHost(), { addresses: ['192.0.2.8'] }));
    server.put('Service', makeWire('a'));
    await until(() => expect(shownIp('a')).toBe('192.0.2.8'));
    server.put('Service', makeWire('b'));
    await until(() => expect(reason('b', 'AddressAssigned')).toBe('PortConflict'));
    server.remove('Service', 'default/a');
    await until(() => expect(shownIp('b')).toBe('192.0.2.8'));
  });

  test('is released when its type changes, and its conditions are removed', async () => {
    await start();
    const host = startHost();
    stack.push(await startController(server, host));
    server.put('Service', makeWire('a'));
    await until(() => expect(shownIp('a')).toBe('192.0.2.8'));
    const present = service('a');
    server.put('Service', {
      ...makeWire('a', { type: 'ClusterIP' }),
      metadata: present?.metadata,
      status: { ...present?.status, loadBalancer: {} },
    } as never);
    await until(() => expect(service('a')?.metadata.finalizers ?? []).toEqual([]));
    expect(shownStatus(server, 'default/a').conditions ?? []).toEqual([]);
    expect(host.ports.held.proxy.size).toBe(0);
  });

  test('that is drained keeps its address and says so, also after a restart, until it is undrained', async () => {
    await start();
    const [host, files] = [startHost(), new Map<string, string>()];
    const first = await startController(server, host, { files });
    server.put('Service', makeWire('a'));
    await until(() => expect(shownIp('a')).toBe('192.0.2.8'));
    const draining = (): readonly (readonly [port: number, isDraining: boolean])[] =>
      Array.from(host.ports.held.proxy.values(), ({ port, isDraining }) => [port, isDraining]);
    await first.serviceDrains.set(serviceKey('default', 'a'), true);
    await until(() => expect(reason('a', 'Serving')).toBe('Drained'));
    expect([shownIp('a'), draining()]).toEqual(['192.0.2.8', [[80, true]]]);
    await first[Symbol.asyncDispose]();
    const second = await startController(server, host, { files });
    stack.push(second);
    server.put('Service', makeWire('b', { ports: [{ port: 81, protocol: 'TCP', nodePort: 30_081 }] }));
    await until(() =>
      expect(new Map(draining())).toEqual(
        new Map([
          [80, true],
          [81, false],
        ]),
      ),
    );
    expect(reason('a', 'Serving')).toBe('Drained');
    await second.serviceDrains.set(serviceKey('default', 'a'), false);
    await until(() => expect(reason('a', 'Serving')).not.toBe('Drained'));
    expect(draining().map(([, isDraining]) => isDraining)).toEqual([false, false]);
  });

  test('is not published while the host refuses, and reports why', async () => {
    await start();
    const host = startHost();
    host.ports.failing.set('steering.apply', 'nft: no');
    stack.push(await startController(server, host));
    server.put('Service', makeWire('a'));
    await until(() => expect(reason('a', 'Serving')).toBe('DataplaneError'));
    expect(shownIp('a')).toBeUndefined();
  });
});

describe('another client’s write to the status', () => {
  const overwrite = (ip: string): void => {
    const present = service('a');
    server.put(
      'Service',
      { ...present, status: { ...present?.status, loadBalancer: { ingress: [{ ip }] } } } as never,
      'kubectl-edit',
    );
  };

  test('is repaired, and no longer after the third within a minute', async () => {
    await start();
    const rig = await startController(server, startHost());
    stack.push(rig);
    server.put('Service', makeWire('a'));
    await until(() => expect(shownIp('a')).toBe('192.0.2.8'));
    for (const ip of ['203.0.113.1', '203.0.113.2']) {
      overwrite(ip);
      await until(() => expect(shownIp('a')).toBe('192.0.2.8'));
    }
    overwrite('203.0.113.3');
    await until(() => expect(rig.events.map((event) => event.reason)).toContain('StatusConflict'));
    expect(shownIp('a')).toBe('203.0.113.3');
    const present = service('a');
    expect([...rig.unwritten.keys()]).toEqual([`${present?.metadata.namespace}/a`]);
    server.put('Service', { ...present, spec: { ...present?.spec, sessionAffinity: 'ClientIP' } } as never);
    await until(() => expect(shownIp('a')).toBe('192.0.2.8'));
    await until(() => expect([...rig.unwritten.keys()]).toEqual([]));
  });
});

describe('the controller', () => {
  test('publishes no table before it knows all Services and Nodes', async () => {
    await start();
    server.put('Service', makeWire('a'));
    server.faults.next({ mishap: 'hang', on: ({ resource }) => resource === 'nodes', times: 100 });
    const host = startHost();
    stack.push(await startController(server, host));
    await until(() =>
      expect(server.requests.some(({ resource, isOpen }) => resource === 'services' && isOpen)).toBe(true),
    );
    await until(() => expect(server.requests.some(({ resource }) => resource === 'nodes')).toBe(true));
    expect(host.tables).toEqual([]);
    expect(writes()).toEqual([]);
  });

  test('writes nothing without permission', async () => {
    await start();
    const rig = await startController(server, startHost(), { clock: fastClock(50) });
    stack.push(rig);
    rig.mayWrite = false;
    server.put('Service', makeWire('a'));
    await until(() => expect(rig.controller.plan()?.assignments.size).toBe(1));
    expect(writes()).toEqual([]);
    rig.mayWrite = true;
    await until(() => expect(shownIp('a')).toBe('192.0.2.8'));
  });

  test('does not touch a Service without a class that another manager serves', async () => {
    await start();
    server.put(
      'Service',
      { ...makeWire('a'), status: { loadBalancer: { ingress: [{ ip: '203.0.113.9' }] } } },
      'controller',
    );
    const rig = await startController(server, startHost());
    stack.push(rig);
    await until(() =>
      expect(rig.events).toContainEqual(
        expect.objectContaining({
          reason: 'HeldByAnother',
          note: 'controller wrote 203.0.113.9, and the Service has no class: furiwake leaves it alone',
        }),
      ),
    );
    expect(writes()).toEqual([]);
  });

  test('reports errors on 200 hostile Services and serves the plain one among them', async () => {
    await start();
    stack.push(await startController(server, startHost(), { addresses: ['192.0.2.0/28'] }));
    for (let index = 0; index < 200; index++) {
      const text = ['192.0.2.1\nbind *:22', "%[env(HOME)]'", 'x'.repeat(250_000), '::/0', '0.0.0.0/0', '\0'][index % 6];
      server.put('Service', makeWire(`hostile-${index}`, {}, { annotations: { 'furiwake.dev/addresses': text } }));
    }
    server.put('Service', makeWire('plain'));
    await until(() => expect(shownIp('plain')).toBe('192.0.2.0'));
    await until(() => expect(reason('hostile-199', 'AddressAssigned')).toBe('InvalidRequest'));
  });
});
