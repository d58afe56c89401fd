import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressOf, nodeName } from '../../../test/make/table.ts';
import { projectEndpointSlice } from '../../api/endpoint-slice.ts';
import { type NodeEndpoints, planLocalBackend, sumOfEndpoints } from './local.ts';
import type { TrafficNode, TrafficTable } from './table.ts';

const nodes: TrafficTable['nodes'] = new Map(
  ['n1', 'n2', 'n3'].map((name, index): [TrafficNode['name'], TrafficNode] => [
    nodeName(name),
    {
      name: nodeName(name),
      addresses: [addressOf(`192.0.2.${index}`)],
      podCidrs: [],
      bootId: undefined,
      state: 'active',
    },
  ]),
);

const count = fc.oneof(fc.nat(3), fc.nat(100_000));
const someEndpoints: fc.Arbitrary<readonly NodeEndpoints[]> = fc
  .array(
    fc.record({ node: fc.constantFrom('n1', 'n2', 'n3', 'unknown').map(nodeName), ready: count, terminating: count }),
  )
  .map(sumOfEndpoints);

test('a server is a known node with an address of the family and with endpoints; its weight is its share of them', () => {
  fc.assert(
    fc.property(someEndpoints, fc.constantFrom(4, 6), (endpoints, family) => {
      const { servers } = planLocalBackend(family, endpoints, nodes, 32_000);
      const expected = endpoints.filter(({ node, ready, terminating }) => nodes.has(node) && ready + terminating > 0);
      expect(servers.map(({ node }) => node)).toEqual(family === 4 ? expected.map(({ node }) => node) : []);
      const most = Math.max(256, ...expected.map(({ ready, terminating }) => (ready > 0 ? ready : terminating)));
      for (const { node, weight, isDraining } of servers) {
        const { ready = 0, terminating = 0 } = endpoints.find((each) => each.node === node) ?? {};
        expect(isDraining).toBe(ready === 0);
        expect(weight).toBeGreaterThanOrEqual(1);
        expect(weight).toBeLessThanOrEqual(256);
        expect(Math.abs(weight - ((ready > 0 ? ready : terminating) * 256) / most)).toBeLessThanOrEqual(1);
      }
    }),
  );
});

test('few endpoints are their own weights', () => {
  const endpoints = [
    { node: nodeName('n1'), ready: 2, terminating: 5 },
    { node: nodeName('n3'), ready: 0, terminating: 1 },
  ];
  expect(planLocalBackend(4, endpoints, nodes, 0)).toEqual({
    family: 4,
    servers: [
      { node: 'n1', weight: 2, isDraining: false },
      { node: 'n3', weight: 1, isDraining: true },
    ],
    healthCheckPort: undefined,
  });
});

test('the parts of a sum may come in any order', () => {
  fc.assert(
    fc.property(someEndpoints, someEndpoints, (a, b) => {
      expect(sumOfEndpoints([...a, ...b])).toEqual(sumOfEndpoints([...b.toReversed(), ...a]));
    }),
  );
});

const condition = fc.constantFrom(true, false, undefined, null, 'true', 1);
const hostileEndpoint = fc.oneof(
  fc.record(
    {
      addresses: fc.oneof(
        fc.array(fc.constantFrom('10.0.0.1', '127.0.0.1', '169.254.1.1', '::1', 'web', '')),
        fc.anything(),
      ),
      nodeName: fc.oneof(fc.constantFrom('n1', 'n2', '', '__proto__', 'n1\nbackend x'), fc.anything()),
      conditions: fc.oneof(fc.record({ ready: condition, serving: condition, terminating: condition }), fc.anything()),
    },
    { requiredKeys: [] },
  ),
  fc.anything(),
);

test('no slice, however hostile, gives a server that is not a known node, nor one without a usable endpoint', () => {
  fc.assert(
    fc.property(fc.oneof(fc.array(hostileEndpoint, { maxLength: 40 }), fc.anything()), (endpoints) => {
      const metadata = { namespace: 'shop', name: 'web-1', labels: { 'kubernetes.io/service-name': 'web' } };
      const slice = projectEndpointSlice({ metadata, addressType: 'IPv4', endpoints });
      const { servers } = planLocalBackend(4, slice.nodes, nodes, 32_000);
      for (const { node } of servers) expect(nodes.has(node)).toBe(true);
      const counted = slice.nodes.reduce((sum, { ready, terminating }) => sum + ready + terminating, 0);
      expect(counted).toBeLessThanOrEqual(slice.endpoints.length);
      expect(slice.nodes.map(({ node }) => node)).toEqual(slice.nodes.map(({ node }) => node).toSorted());
      expect(new Set(slice.nodes.map(({ node }) => node)).size).toBe(slice.nodes.length);
    }),
  );
});

test('an endpoint counts once in a slice; thousands of them are one server', () => {
  const endpoint = (address: string, more = {}): object => ({ addresses: [address], nodeName: 'n1', ...more });
  const slice = projectEndpointSlice({
    metadata: { namespace: 'shop', name: 'web-1' },
    addressType: 'IPv4',
    endpoints: [
      endpoint('10.0.0.1'),
      endpoint('10.0.0.1'),
      endpoint('10.0.0.2', { conditions: { ready: false, serving: true, terminating: true } }),
      endpoint('10.0.0.3', { conditions: { ready: false, serving: false } }),
      endpoint('10.0.0.4', { nodeName: undefined }),
    ],
  });
  expect(slice.nodes).toEqual([{ node: 'n1', ready: 1, terminating: 1 }]);
  const many = Array.from({ length: 5000 }, (_, index) => endpoint(`10.0.${index >> 8}.${index & 255}`));
  const large = projectEndpointSlice({ metadata: {}, addressType: 'IPv4', endpoints: many });
  expect(planLocalBackend(4, large.nodes, nodes, 0).servers).toMatchObject([{ node: 'n1', weight: 256 }]);
});
