import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { DirectObstacles } from '../../src/core/traffic/report.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { nodeName } from '../make/table.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type ControllerRig, type SimHost, startController, startHost } from './controller-rig.ts';
import { fastClock } from './virtual-clock.ts';
import { shownCondition } from './shown-status.ts';

/*
 * A Service of `direct` whose packets the host drops, because it may send them to no node. A second lasts 5 ms.
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
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
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
      allocateLoadBalancerNodePorts: false,
      ports: [{ port, protocol: 'UDP' }],
    },
  });
  server.put('EndpointSlice', {
    metadata: { name: `${name}-1`, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: '', port: 8080, protocol: 'UDP' }],
    endpoints: [{ addresses: ['10.244.0.2'], conditions: { ready: true } }],
  });
}

const serving = (name: string): string | undefined => {
  const found = shownCondition(server, `default/${name}`, 'Serving');
  return found && `${found.status} ${found.reason}: ${found.message}`;
};
const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 5 });

const good = 'True Serving: all ports are served';
const bad =
  'False NotForwarding: packets for 192.0.2.8 are dropped, because direct has no node for them: n1 has no address in a LAN of the load-balancer host; port 53 without direct needs a nodePort (spec.allocateLoadBalancerNodePorts: true)';
const obstacles = (what: 'offLink' | 'noAnswer'): DirectObstacles => new Map([[nodeName('n1'), { 4: what }]]);

test('it says so, follows what changes, and is served again as soon as a node is open', async () => {
  host.ports.closeDirect(true, obstacles('offLink'));
  create('dns', 53);
  await until(() => expect(serving('dns')).toBe(good)); // the packets are dropped for a moment only
  await until(() => expect(serving('dns')).toBe(bad));
  host.ports.closeDirect(true, obstacles('noAnswer'));
  await until(() => expect(serving('dns')).toContain('open the port'));
  host.ports.closeDirect(false);
  await until(() => expect(serving('dns')).toBe(good));
});

test('a restart of the controller changes no status', async () => {
  host.ports.closeDirect(true, obstacles('offLink'));
  create('dns', 53);
  await until(() => expect(serving('dns')).toBe(bad));
  const before = server.get('Service', 'default/dns')?.metadata.resourceVersion;
  await controller[Symbol.asyncDispose]();
  controller = await startController(server, host, { files, clock });
  create('ntp', 123);
  await until(() => expect(serving('ntp')).toContain('NotForwarding')); // the other one has waited for longer
  expect(server.get('Service', 'default/dns')?.metadata.resourceVersion).toBe(before);
});
