import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Listener } from '../../src/core/traffic/table.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type SimHost, startController, startHost } from './controller-rig.ts';
import type { SimObject } from './kinds.ts';
import { shownCondition, shownStatus } from './shown-status.ts';

let server: SimApiServer;
let host: SimHost;
const stack: AsyncDisposable[] = [];

beforeEach(async () => {
  server = await startSimApiServer({ seed: 1 });
  host = startHost();
  stack.push(server, host, await startController(server, host));
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
});

afterEach(async () => {
  for (const each of stack.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

const stored = (): SimObject | undefined => server.get('Service', 'default/dns');
const shown = (): readonly unknown[] =>
  (shownStatus(server, 'default/dns').loadBalancer?.ingress ?? []).map(({ ip, ipMode }) => `${ip} ${ipMode}`);
const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 5 });

/** Whether the listener was published, in the tables of the host from the first one that has it; each change once. */
function history(): readonly (boolean | undefined)[] {
  const states = host.tables.map(
    ({ listeners }) => [...listeners.values()].find(({ protocol }) => protocol === 'UDP')?.isPublished,
  );
  return states.filter((state, index) => state !== states[index - 1]);
}

function request(dataplane: string | undefined): void {
  const { uid, finalizers = [] } = stored()?.metadata ?? {};
  server.put('Service', {
    ...stored(),
    metadata: {
      ...(uid === undefined ? {} : { uid }),
      name: 'dns',
      namespace: 'default',
      finalizers,
      annotations: dataplane === undefined ? {} : { 'furiwake.dev/dataplane': dataplane },
    },
    spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ port: 53, protocol: 'UDP', nodePort: 30_053 }] },
  });
}

test('a Service of direct is published when the host has its listener, and the host learns that it is', async () => {
  request('direct');
  await until(() => expect(history()).toEqual([false, true]));
  expect(shown()).toEqual(['192.0.2.8 VIP']);
  await until(() => expect(shownCondition(server, 'default/dns', 'AddressAssigned')?.reason).toBe('Assigned'));
  const isReported = ({ key, revision }: Listener): boolean =>
    host.link.report().listeners.get(key)?.revision === revision;
  await until(() => expect([...(host.tables.at(-1)?.listeners.values() ?? [])].every(isReported)).toBe(true));
  expect([host.ports.held.proxy.size, host.ports.held.steering.listeners.size]).toEqual([0, 0]);
});

test('while another client has cleared the status, the listener is not published; then the status is restored', async () => {
  request('direct');
  await until(() => expect(history()).toEqual([false, true]));
  server.put('Service', { ...stored(), status: { ...stored()?.status, loadBalancer: {} } } as SimObject);
  await until(() => expect(history()).toEqual([false, true, false, true]));
  expect(shown()).toEqual(['192.0.2.8 VIP']);
});

test('two Services on one address keep their own ipMode, also when the other is another dataplane’s', async () => {
  request('direct');
  const web = (annotations: Readonly<Record<string, string>>): void => {
    const { uid, finalizers = [] } = server.get('Service', 'default/web')?.metadata ?? {};
    const port = { port: 53, protocol: 'TCP', nodePort: 30_054 };
    server.put('Service', {
      ...server.get('Service', 'default/web'),
      metadata: { ...(uid === undefined ? {} : { uid }), name: 'web', namespace: 'default', finalizers, annotations },
      spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], loadBalancerIP: '192.0.2.8', ports: [port] },
    });
  };
  const modes = (): readonly unknown[] =>
    ['default/dns', 'default/web'].map((key) => shownStatus(server, key).loadBalancer?.ingress?.[0]?.ipMode);
  web({});
  await until(() => expect(modes()).toEqual(['VIP', 'Proxy']));
  web({ 'furiwake.dev/dataplane': 'direct' });
  await until(() => expect(modes()).toEqual(['VIP', 'VIP']));
  request('nat');
  await until(() => expect(modes()).toEqual(['Proxy', 'VIP']));
});

test('with the annotation nat its UDP port is served by nat, on the same address', async () => {
  request('direct');
  await until(() => expect(shown()).toEqual(['192.0.2.8 VIP']));
  expect([host.ports.held.nat.size, host.ports.held.direct.size]).toEqual([1, 1]); // it stands in
  request('nat');
  await until(() => expect(shown()).toEqual(['192.0.2.8 Proxy']));
  await until(() => expect([host.ports.held.nat.size, host.ports.held.direct.size]).toEqual([1, 0]));
});

test.each([
  ['TCP', 'haproxy', 'proxy'],
  ['UDP', 'nat', 'nat'],
  ['SCTP', 'nat', 'nat'],
] as const)(
  'a Local Service moves to direct by itself, with its %s port: %s keeps its listener',
  async (protocol, standIn, part) => {
    const local = {
      metadata: { name: 'dns', namespace: 'default' },
      spec: {
        type: 'LoadBalancer',
        ipFamilies: ['IPv4'],
        externalTrafficPolicy: 'Local',
        ports: [{ port: 80, protocol, nodePort: 30_080 }],
      },
    };
    server.put('Service', local);
    await until(() => expect(shown()).toEqual(['192.0.2.8 Proxy']));
    const dataplane = (): unknown => [...(host.tables.at(-1)?.listeners.values() ?? [])].map((each) => each.dataplane);
    expect(dataplane()).toEqual([standIn]);
    host.ports.setOnLink(new Set([4]));
    await until(() => expect(shown()).toEqual(['192.0.2.8 VIP']));
    expect(dataplane()).toEqual(['direct']);
    expect([host.ports.held[part].size, host.ports.held.direct.size]).toEqual([1, 1]);
    host.ports.setOnLink(new Set());
    server.put('Service', { ...stored(), spec: { ...local.spec, externalTrafficPolicy: 'Cluster' } } as SimObject);
    await until(() => expect(host.tables.at(-1)?.listeners.size).toBe(1));
    expect([dataplane(), shown()]).toEqual([['direct'], ['192.0.2.8 VIP']]);
  },
);
