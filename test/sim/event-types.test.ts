import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type ControllerRig, startController, startHost } from './controller-rig.ts';

/* An event is a Warning exactly when the user must do something. */
const stack = new AsyncDisposableStack();
let server: SimApiServer;
let rig: ControllerRig;

beforeAll(async () => {
  server = stack.use(await startSimApiServer({ seed: 1 }));
  const addresses = [{ type: 'InternalIP', address: '192.0.2.11' }];
  server.put('Node', { metadata: { name: 'n1' }, status: { addresses } });
  const host = stack.use(startHost());
  rig = stack.use(
    await startController(server, host, {
      addresses: ['192.0.2.16-192.0.2.31'],
      site: { defaults: [['furiwake.dev/dataplane', 'haproxy']] },
    }),
  );
});
afterAll(() => stack.disposeAsync());

const tcp = { port: 80, protocol: 'TCP', nodePort: 30_080 };
const udp = { port: 53, protocol: 'UDP' };

test.each([
  ['served', {}, { Assigned: 'Normal', Serving: 'Normal' }],
  [
    'served in part',
    { ports: [tcp, udp], allocateLoadBalancerNodePorts: false },
    { Assigned: 'Normal', PartlyServing: 'Warning' },
  ],
  [
    'served without its affinity',
    { sessionAffinity: 'ClientIP' },
    { Assigned: 'Normal', FieldsNotHonoured: 'Warning' },
  ],
  ['closed', { loadBalancerSourceRanges: ['x'] }, { Assigned: 'Normal', InvalidSourceRanges: 'Warning' }],
  ['refused its port', { ports: [udp], allocateLoadBalancerNodePorts: false }, { NodePortMissing: 'Warning' }],
  ['refused its address', { loadBalancerIP: '198.51.100.1' }, { AddressNotInPool: 'Warning' }],
])('a Service that is %s: with %j its events are %j', async (what, spec, expected) => {
  const name = what.replaceAll(' ', '-');
  const type = 'LoadBalancer';
  server.put('Service', {
    metadata: { name, namespace: 'default' },
    spec: { type, ipFamilies: ['IPv4'], ports: [tcp], ...spec },
  });
  server.put('EndpointSlice', {
    metadata: { name, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: ['TCP', 'UDP'].map((protocol) => ({ name: '', port: 8080, protocol })),
    endpoints: [{ addresses: ['10.244.1.7'] }],
  });
  await vi.waitFor(
    () => {
      const events = rig.events.filter(({ regarding }) => regarding.name === name);
      expect(Object.fromEntries(events.map((event) => [event.reason, event.type]))).toEqual(expected);
    },
    { timeout: 20_000, interval: 5 },
  );
});
