import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Clock } from '../../src/ports/clock.ts';
import { nodeName } from '../make/table.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type ControllerRig, type SimHost, startController, startHost } from './controller-rig.ts';
import { shownCondition } from './shown-status.ts';
import { fastClock } from './virtual-clock.ts';

/*
 * A Service of `direct` with endpoints on two nodes, one of which does not answer. A second lasts 5 ms.
 */
const speed = 200;
const files = new Map<string, string>();
let server: SimApiServer;
let host: SimHost;
let controller: ControllerRig;
let clock: Clock;

beforeEach(async () => {
  files.clear();
  clock = fastClock(speed);
  server = await startSimApiServer({ seed: 1, clock });
  host = startHost({ clock });
  host.ports.setOnLink(new Set([4]));
  controller = await startController(server, host, { files, clock });
  for (const index of [1, 2])
    server.put('Node', {
      metadata: { name: `n${index}` },
      status: { addresses: [{ type: 'InternalIP', address: `192.0.2.1${index}` }] },
    });
  create('dns', 53);
});

afterEach(async () => {
  for (const each of [controller, host, server]) await each[Symbol.asyncDispose]();
});

function create(name: string, port: number): void {
  server.put('Service', {
    metadata: { name, namespace: 'default', annotations: { 'furiwake.dev/dataplane': 'direct' } },
    spec: {
      type: 'LoadBalancer',
      ipFamilies: ['IPv4'],
      externalTrafficPolicy: 'Local',
      ports: [{ port, protocol: 'UDP', nodePort: 30_000 + port }],
    },
  });
  server.put('EndpointSlice', {
    metadata: { name: `${name}-1`, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: '', port: 8080, protocol: 'UDP' }],
    endpoints: [1, 2].map((index) => ({ addresses: [`10.244.${index}.2`], nodeName: `n${index}` })),
  });
}

const serving = (name = 'dns'): string | undefined => {
  const found = shownCondition(server, `default/${name}`, 'Serving');
  return found && `${found.status} ${found.reason}: ${found.message}`;
};
const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 5 });

const good = 'True Serving: all ports are served';
const bad =
  'True NodesNotReached: direct sends no new flows to some nodes with ready endpoints: kube-proxy on n2 does not answer on port 10256: open the port to the load-balancer host';

test('a node that has not answered for a minute is named, until it answers', async () => {
  await until(() => expect(serving()).toBe(good));
  const sinceMs = clock.monotonic();
  host.ports.setHealth(new Map([[nodeName('n2'), { 4: 'silent' }]]));
  await until(() => expect(serving()).toBe(bad));
  expect(clock.monotonic() - sinceMs).toBeGreaterThanOrEqual(60_000);
  host.ports.setHealth(new Map());
  await until(() => expect(serving()).toBe(good));
});

test('a new term of the controller changes no status that names a node', async () => {
  await until(() => expect(serving()).toBe(good));
  host.ports.setHealth(new Map([[nodeName('n2'), { 4: 'silent' }]]));
  await until(() => expect(serving()).toBe(bad));
  const before = server.get('Service', 'default/dns')?.metadata.resourceVersion;
  await controller[Symbol.asyncDispose]();
  controller = await startController(server, host, { files, clock });
  create('ntp', 123);
  await until(() => expect(serving('ntp')).toBe(bad)); // the other one was judged before
  expect(server.get('Service', 'default/dns')?.metadata.resourceVersion).toBe(before);
});
