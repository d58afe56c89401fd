import fc from 'fast-check';
import { expect, test } from 'vitest';
import { projectEndpointSlice } from './endpoint-slice.ts';
import { formatRange } from '../core/ip/range.ts';
import { projectNode } from './node.ts';
import { projectService } from './service.ts';

/** JSON of any shape, with the names that the projections read. */
const names = fc.constantFrom(
  'metadata',
  'spec',
  'status',
  'ports',
  'loadBalancer',
  'ingress',
  'conditions',
  'managedFields',
  'annotations',
  'labels',
  'addresses',
  'taints',
  'ipFamilies',
  'finalizers',
  'fieldsV1',
  'f:status',
  'f:loadBalancer',
  'type',
  'endpoints',
);
const anyWire = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.string(),
    fc.integer(),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value')),
    fc.dictionary(names, tie('value')),
  ),
})).value;

test('any JSON is read as a Service without an error', () => {
  fc.assert(
    fc.property(anyWire, (wire) => {
      expect(typeof projectService(wire).key).toBe('string');
    }),
    { numRuns: 1_000 },
  );
});

test('any JSON is read as a Node without an error', () => {
  fc.assert(
    fc.property(anyWire, (wire) => {
      expect(typeof projectNode(wire).name).toBe('string');
    }),
    { numRuns: 1_000 },
  );
});

test('any JSON is read as an EndpointSlice without an error', () => {
  fc.assert(
    fc.property(anyWire, (wire) => {
      expect(Array.isArray(projectEndpointSlice(wire).endpoints)).toBe(true);
    }),
    { numRuns: 1_000 },
  );
});

test.each([
  ['IPv4', '0.0.0.0'],
  ['IPv4', '127.0.0.1'],
  ['IPv4', '169.254.169.254'],
  ['IPv4', '224.0.0.1'],
  ['IPv4', '255.255.255.255'],
  ['IPv4', 'fd00::7'],
  ['IPv4', '10.244.0.7\n'],
  ['IPv6', '::'],
  ['IPv6', '::1'],
  ['IPv6', 'fe80::1'],
  ['IPv6', 'ff02::1'],
  ['IPv6', '::ffff:127.0.0.1'],
])('an endpoint of %s with the address %j does not count for its node', (addressType, address) => {
  const sound = addressType === 'IPv4' ? '10.244.0.7' : 'fd00:244::7';
  const endpoints = [
    { addresses: [address], nodeName: 'n1' },
    { addresses: [sound], nodeName: 'n2' },
  ];
  const { nodes } = projectEndpointSlice({ addressType, endpoints });
  expect(nodes).toEqual([{ node: 'n2', ready: 1, terminating: 0 }]);
});

test('a Service keeps only the fields that matter', () => {
  const managedFields = [
    { manager: 'kubectl', operation: 'Update', time: '2026-01-01T00:00:00Z', fieldsV1: { 'f:spec': {} } },
    {
      manager: 'furiwake',
      operation: 'Apply',
      subresource: 'status',
      time: '2026-01-01T00:00:01Z',
      fieldsV1: { 'f:status': { 'f:loadBalancer': { 'f:ingress': {} } } },
    },
  ];
  const service = projectService({
    metadata: {
      name: 'a',
      namespace: 'n',
      uid: 'u',
      creationTimestamp: '2026-01-01T00:00:00Z',
      annotations: {
        'furiwake.dev/addresses': '192.0.2.1',
        'metallb.io/allow-shared-ip': 'k',
        'metallb.io/address-pool': 'public',
        other: 'x'.repeat(1_000),
      },
      managedFields,
    },
    spec: {
      type: 'LoadBalancer',
      ipFamilies: ['IPv6', 'IPv4'],
      ipFamilyPolicy: 'RequireDualStack',
      ports: [{ port: 80, nodePort: 30_080, protocol: 'TCP' }],
      loadBalancerSourceRanges: ['10.0.0.0/8'],
    },
    status: {
      loadBalancer: { ingress: [{ ip: '192.0.2.1', ipMode: 'Proxy' }] },
      conditions: [
        { type: 'other.example/Condition' },
        { type: 'furiwake.dev/Serving', status: 'True', reason: 'Serving', message: '', lastTransitionTime: '' },
      ],
    },
  });
  expect(service.status.ingressManager).toBe('furiwake');
  expect(service.status.conditions.map((condition) => condition.type)).toEqual(['furiwake.dev/Serving']);
  expect(service.spec).toMatchObject({
    ipFamilies: [6, 4],
    requireDualStack: true,
    sourceRanges: ['10.0.0.0/8'],
    addressAnnotations: [['furiwake.dev/addresses', '192.0.2.1']],
    sharingKey: 'k',
    poolAnnotations: [['metallb.io/address-pool', 'public']],
  });
  expect(JSON.stringify(service).length).toBeLessThan(1_000);
});

test.each([
  [{ labels: { 'node.kubernetes.io/exclude-from-external-load-balancers': '' } }, {}, 'label'],
  [{ labels: { 'node.kubernetes.io/exclude-from-external-load-balancers': 'true' } }, {}, 'label'],
  [{ labels: { 'node.kubernetes.io/exclude-from-external-load-balancers': 'false' } }, {}, undefined],
  [{ deletionTimestamp: '2026-01-01T00:00:00Z' }, {}, 'deleted'],
  [{}, { taints: [{ key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' }] }, 'taint'],
  [{}, { taints: [{ key: 'node.kubernetes.io/not-ready', effect: 'NoExecute' }], unschedulable: true }, undefined],
] as const)('a node with %j and %j is excluded by %s', (metadata, spec, expected) => {
  expect(projectNode({ metadata: { name: 'n1', ...metadata }, spec }).excluded).toBe(expected);
});

test.each([
  [
    'the first InternalIP of each family',
    [
      ['InternalIP', '192.0.2.1'],
      ['InternalIP', '192.0.2.2'],
      ['InternalIP', '2001:db8::1'],
      ['ExternalIP', '198.51.100.1'],
    ],
    ['192.0.2.1', '2001:db8::1'],
  ],
  [
    'the ExternalIP of a node without an InternalIP',
    [
      ['Hostname', 'n1'],
      ['ExternalIP', '198.51.100.1'],
    ],
    ['198.51.100.1'],
  ],
  [
    'an address that a node can have: one that says it is the host itself, or a group, is ignored',
    [
      ['InternalIP', '127.0.0.1'],
      ['InternalIP', '0.0.0.0'],
      ['InternalIP', '169.254.169.254'],
      ['InternalIP', '224.0.0.1'],
      ['InternalIP', '255.255.255.255'],
      ['InternalIP', '::1'],
      ['InternalIP', 'fe80::1'],
      ['InternalIP', '::ffff:127.0.0.1'],
      ['InternalIP', '192.0.2.1\n    server x 192.0.2.9'],
      ['InternalIP', '192.0.2.1'],
    ],
    ['192.0.2.1'],
  ],
  ['no address if there is neither', [['Hostname', 'n1']], []],
] as const)('a node is reached by %s', (_, addresses, expected) => {
  const wire = {
    metadata: { name: 'n1' },
    status: { addresses: addresses.map(([type, address]) => ({ type, address })) },
  };
  expect(projectNode(wire).addresses.map((ip) => ip.text)).toEqual(expected);
});

test('the boot ID of a node is the one that its kubelet reported', () => {
  const nodeInfo = { bootID: '0b1c', kernelVersion: '6.12' };
  expect(projectNode({ status: { nodeInfo } }).bootId).toBe('0b1c');
  for (const status of [{}, { nodeInfo: { bootID: 7 } }, { nodeInfo: null }])
    expect(projectNode({ status }).bootId).toBeUndefined();
});

test('the Pod CIDRs of a node are those that can be read', () => {
  const podCIDRs = ['10.244.1.0/24', 'nonsense', 'fd00:10:244:1::/64'];
  const { podCidrs } = projectNode({ metadata: { name: 'n1' }, spec: { podCIDRs } });
  expect(podCidrs.map(formatRange)).toEqual([
    '10.244.1.0-10.244.1.255',
    'fd00:10:244:1::-fd00:10:244:1:ffff:ffff:ffff:ffff',
  ]);
});
