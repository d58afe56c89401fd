import { afterEach, describe, expect, test, vi } from 'vitest';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { startController, startHost as startSimHost } from './controller-rig.ts';
import type { SimObject } from './kinds.ts';
import { fastClock } from './virtual-clock.ts';
import { shownCondition, shownIps, type ShownStatus, shownStatus } from './shown-status.ts';

/*
 * Events between two steps of the controller: another client writes, the host refuses or is slow, the disk is full.
 */
const stack: AsyncDisposable[] = [];
let server: SimApiServer;

async function start(): Promise<void> {
  server = await startSimApiServer({ seed: 1 });
  stack.push(server);
  const addresses = [{ type: 'InternalIP', address: '192.0.2.11' }];
  server.put('Node', { metadata: { name: 'n1' }, status: { addresses } });
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

const tcp = { port: 80, protocol: 'TCP', nodePort: 30_080 };
const udp = { port: 53, protocol: 'UDP' };

function wire(name: string, spec: object = {}): SimObject {
  const type = 'LoadBalancer';
  return { metadata: { name, namespace: 'default' }, spec: { type, ipFamilies: ['IPv4'], ports: [tcp], ...spec } };
}

function change(name: string, spec: object, metadata: object = {}): void {
  const present = server.get('Service', `default/${name}`);
  if (present === undefined) throw new Error(`there is no Service ${name}`);
  server.put('Service', {
    ...present,
    metadata: { ...present.metadata, ...metadata },
    spec: { ...present.spec, ...spec },
  });
}

const shown = (name: string): ShownStatus => shownStatus(server, `default/${name}`);
const shownIp = (name: string): string | undefined => shownIps(server, `default/${name}`)[0];
const condition = (name: string, type: 'AddressAssigned' | 'Serving'): ReturnType<typeof shownCondition> =>
  shownCondition(server, `default/${name}`, type);
const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 25_000, interval: 5 });

/** Another client changes a field that furiwake does not keep, just before furiwake's next patch. */
function meddleBeforePatch(name: string): void {
  let isDone = false;
  server.faults.next({
    mishap: 'hang', // never: it only looks
    on: ({ verb, path }) => {
      if (!isDone && verb === 'patch' && path.endsWith(`/${name}`)) {
        isDone = true;
        change(name, {}, { annotations: { 'argocd.argoproj.io/tracking-id': 'x' } });
      }
      return false;
    },
  });
}

describe('a foreign write just before one of furiwake, which the watch does not deliver', () => {
  test('does not keep a Service pending', async () => {
    await start();
    stack.push(await startController(server, startHost()));
    meddleBeforePatch('a');
    server.put('Service', wire('a'));
    await until(() => expect(shownIp('a')).toBe('192.0.2.8'));
  });

  test('does not keep a Service in Terminating', async () => {
    await start();
    stack.push(await startController(server, startHost()));
    server.put('Service', wire('a'));
    await until(() => expect(shownIp('a')).toBe('192.0.2.8'));
    meddleBeforePatch('a');
    server.remove('Service', 'default/a');
    await until(() => expect(server.get('Service', 'default/a')).toBeUndefined());
  });
});

describe('while the host refuses a change', () => {
  test('an address that must pass from one Service to another stays published for the served one', async () => {
    await start();
    const host = startHost();
    stack.push(await startController(server, host));
    server.put('Service', wire('a'));
    await until(() => expect(shownIp('a')).toBe('192.0.2.8'));
    server.put('Service', wire('b', { loadBalancerIP: '192.0.2.8' }));
    await until(() => expect(condition('b', 'AddressAssigned')).toMatchObject({ reason: 'PortConflict' }));
    host.ports.failing.set('steering.apply', 'nft: no');
    change('a', { loadBalancerIP: '192.0.2.9' });
    await until(() => expect(condition('a', 'Serving')).toMatchObject({ reason: 'DataplaneError' }));
    await until(() => expect(condition('b', 'Serving')).toMatchObject({ reason: 'DataplaneError' }));
    expect([shownIp('a'), shownIp('b')]).toEqual(['192.0.2.8', undefined]);
  });
});

test('ports that were added while the host was busy are not published before they are served or refused', async () => {
  await start();
  const host = startHost();
  const gate = Promise.withResolvers<void>();
  host.ports.gate = gate.promise;
  stack.push(await startController(server, host, { site: { defaults: [['furiwake.dev/dataplane', 'haproxy']] } }));
  server.put('Service', wire('a'));
  await until(() => expect(host.ports.steps).toContain('proxy.upsert'));
  change('a', { ports: [tcp, { ...tcp, port: 443, nodePort: 30_443 }, udp], allocateLoadBalancerNodePorts: false });
  const published: unknown[] = [];
  server.faults.next({
    mishap: 'hang', // never: it only looks
    on: () => {
      const [ingress] = shown('a').loadBalancer?.ingress ?? [];
      if (ingress !== undefined) published.push(ingress.ports);
      return false;
    },
  });
  gate.resolve();
  await until(() => expect(shown('a').loadBalancer?.ingress?.[0]?.ports).toHaveLength(3));
  const first = { port: 80, protocol: 'TCP' };
  const second = { port: 443, protocol: 'TCP' };
  const refused = { port: 53, protocol: 'UDP', error: 'furiwake.dev/NodePortMissing' };
  for (const ports of published) expect([[first], [first, second, refused]]).toContainEqual(ports);
});

test('decisions made while recording failed are reported when it works again', async () => {
  await start();
  const files = new Map<string, string>();
  let isFull = false;
  files.set = (path, text) => {
    if (isFull && path === '/ledger') throw new Error('ENOSPC');
    return Map.prototype.set.call(files, path, text) as typeof files;
  };
  const rig = await startController(server, startHost(), { files, addresses: ['192.0.2.8'], clock: fastClock(20) });
  stack.push(rig);
  for (const name of ['a', 'b', 'c']) {
    server.put('Service', wire(name));
    await until(() => expect(condition(name, 'AddressAssigned')).toBeDefined());
  }
  expect(condition('c', 'AddressAssigned')).toMatchObject({ message: expect.stringContaining('default/a') });
  isFull = true;
  server.remove('Service', 'default/a');
  await until(() => expect(rig.log.filter(({ level }) => level === 'error')).not.toEqual([]));
  isFull = false;
  await until(() => {
    const [holder, other] = shownIp('b') === undefined ? ['c', 'b'] : ['b', 'c'];
    expect(shownIp(holder)).toBe('192.0.2.8');
    expect(condition(other, 'AddressAssigned')).toMatchObject({
      message: expect.stringContaining(`default/${holder}`),
    });
  });
});

test('a Service that never had an address is released when its type changes, also with only one class', async () => {
  await start();
  const loadBalancerClass = 'furiwake.dev/haproxy';
  stack.push(
    await startController(server, startHost(), {
      site: { takesDefaultClass: false, defaults: [['furiwake.dev/dataplane', 'haproxy']] },
    }),
  );
  server.put('Service', wire('a', { loadBalancerClass, ports: [udp], allocateLoadBalancerNodePorts: false }));
  await until(() => expect(condition('a', 'AddressAssigned')).toBeDefined());
  change('a', { type: 'ClusterIP', loadBalancerClass: undefined });
  await until(() => expect(server.get('Service', 'default/a')?.metadata.finalizers ?? []).toEqual([]));
  expect(shown('a').conditions ?? []).toEqual([]);
});

test('a Service that a backup of etcd restores keeps the address of its status, which a vanished Service had meanwhile', async () => {
  await start();
  const [host, files] = [startHost(), new Map<string, string>()];
  const before = await startController(server, host, { files });
  server.put('Service', wire('low'));
  await until(() => expect(shownIp('low')).toBe('192.0.2.8'));
  server.put('Service', wire('restored'));
  await until(() => expect(shownIp('restored')).toBe('192.0.2.9'));
  server.remove('Service', 'default/low'); // its address is the lowest free one
  await until(() => expect(server.get('Service', 'default/low')).toBeUndefined());
  const restore = server.backup();
  server.remove('Service', 'default/restored');
  await until(() => expect(server.get('Service', 'default/restored')).toBeUndefined());
  server.put('Service', wire('vanished', { loadBalancerIP: '192.0.2.9' }));
  await until(() => expect(shownIp('vanished')).toBe('192.0.2.9'));
  await before[Symbol.asyncDispose]();
  restore();
  stack.push(await startController(server, host, { files }));
  const key = '192.0.2.9|80|TCP';
  await until(() =>
    expect([...host.ports.held.proxy.values()].map((held) => held.service)).toEqual(['default/restored']),
  );
  expect([...host.ports.held.proxy.keys()]).toEqual([key]);
  expect(shownIp('restored')).toBe('192.0.2.9');
});
