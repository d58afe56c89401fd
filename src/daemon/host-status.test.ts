import { describe, expect, test } from 'vitest';
import { assignedAddress, makeNode, makeService, tcp } from '../../test/make/service.ts';
import { listener, nodeName, tableOf } from '../../test/make/table.ts';
import type { Assignment } from '../core/addresses/assignment.ts';
import type { Eligibility } from '../core/addresses/eligibility.ts';
import type { Condition, Ingress, Service } from '../core/model/service.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import {
  countOtherServices,
  countServices,
  haproxyTrouble,
  nodeLines,
  serviceLines,
  unusedNodes,
} from './host-status.ts';

const condition = (type: string, status: 'True' | 'False', reason: string, message = ''): Condition => ({
  type: `furiwake.dev/${type}`,
  status,
  reason,
  message,
  lastTransitionTime: '',
});
const assigned = condition('AddressAssigned', 'True', 'Assigned');
const serving = condition('Serving', 'True', 'Serving', 'all ports are served');

const unassigned: Assignment = {
  addresses: [],
  verdict: { reason: 'Assigned', message: '' },
  refused: [],
  disowned: [],
  waitsForHost: false,
  keepsStatus: false,
};

function lineOf(
  conditions: readonly Condition[],
  eligibility: Eligibility = 'ours',
  ingress: readonly Ingress[] = [],
  troubles: readonly string[] = [],
): unknown {
  const service = makeService('a', {}, { createdAtMs: 1_000, status: { conditions, ingress } });
  const plan = {
    eligibility: PersistentMap.from([[service.key, eligibility]]),
    assignments: PersistentMap.empty<Service['key'], Assignment>(),
    table: tableOf([]),
  };
  return serviceLines({ plan, services: new Map([[service.key, service]]), troubles }, new Map(), 61_000)[0];
}

describe('a Service', () => {
  test.each<[string, readonly Condition[], object]>([
    ['that is served', [assigned, serving], { status: 'Serving', message: '' }],
    [
      'whose request for a pool is ignored',
      [condition('AddressAssigned', 'True', 'Assigned', 'assigned 192.0.2.7; ignored: a; ignored: b'), serving],
      { status: 'Serving', reason: 'Serving', message: 'ignored: a; ignored: b' },
    ],
    [
      'of which a field is ignored',
      [assigned, condition('Serving', 'True', 'FieldsNotHonoured', 'ignored: x')],
      { status: 'Serving', message: 'ignored: x' },
    ],
    [
      'with a port that is not served',
      [assigned, condition('Serving', 'True', 'PartlyServing', 'UDP 53')],
      { status: 'Partly served', message: 'UDP 53' },
    ],
    [
      'with an invalid source range',
      [assigned, condition('Serving', 'True', 'InvalidSourceRanges', 'invalid CIDR')],
      { status: 'Partly served', reason: 'InvalidSourceRanges', message: 'invalid CIDR' },
    ],
    [
      'that is closed to all clients',
      [assigned, condition('Serving', 'False', 'InvalidSourceRanges', 'closed')],
      { status: 'Not served', message: 'closed' },
    ],
    [
      'without endpoints',
      [assigned, condition('Serving', 'False', 'NoEndpoints', 'none')],
      { status: 'No endpoints', message: 'none' },
    ],
    [
      'whose packets are dropped',
      [assigned, condition('Serving', 'False', 'NotForwarding', 'n')],
      { status: 'Not served', reason: 'NotForwarding', message: 'n' },
    ],
    ['without nodes', [assigned, condition('Serving', 'False', 'NoNodes', 'n')], { status: 'No nodes' }],
    [
      'that the host refuses',
      [assigned, condition('Serving', 'False', 'DataplaneError', 'nft: no')],
      { status: 'Not served' },
    ],
    [
      'without an address',
      [condition('AddressAssigned', 'False', 'PortConflict', 'port 80 …'), condition('Serving', 'False', 'NoAddress')],
      { status: 'Pending', reason: 'PortConflict', message: 'port 80 …' },
    ],
    [
      'that keeps its address in place of the one that it requests',
      [condition('AddressAssigned', 'True', 'AddressNotInPool', 'kept'), condition('Serving', 'True', 'Serving')],
      { status: 'Serving', reason: 'AddressNotInPool', message: 'kept' },
    ],
    [
      'that keeps its address, with a port that is not served',
      [
        condition('AddressAssigned', 'True', 'AddressNotInPool', 'kept'),
        condition('Serving', 'True', 'PartlyServing', 'UDP 53'),
      ],
      { status: 'Partly served', reason: 'PartlyServing', message: 'kept; UDP 53' },
    ],
    [
      'that keeps its address, without endpoints',
      [
        condition('AddressAssigned', 'True', 'AddressNotInPool', 'kept'),
        condition('Serving', 'False', 'NoEndpoints', 'none'),
      ],
      { status: 'No endpoints', reason: 'NoEndpoints', message: 'kept; none' },
    ],
    ['that was just created', [], { status: 'Pending', reason: 'Starting' }],
    [
      'with an address and unknown endpoints',
      [assigned],
      { status: 'Pending', message: expect.stringContaining('endpoints') },
    ],
  ])('%s says so', (_, conditions, expected) => {
    expect(lineOf(conditions)).toMatchObject({ service: 'default/a', ageSeconds: 60, ...expected });
  });

  const published = { ip: '192.0.2.8', hostname: undefined, ipMode: 'Proxy', ports: [] };
  test.each(['DataplaneError', 'HaproxyUnchanged'])(
    'whose change the host does not take (%s) is served in part as long as its address is published',
    (reason) => {
      const refused = [assigned, condition('Serving', 'False', reason, 'nft: no')];
      expect(lineOf(refused, 'ours', [published])).toMatchObject({ status: 'Partly served', message: 'nft: no' });
      expect(lineOf(refused)).toMatchObject({ status: 'Not served' });
    },
  );

  test('whose published address is not on the host is not served', () => {
    const absent = [assigned, condition('Serving', 'False', 'AddressNotOnHost', 'lost')];
    expect(lineOf(absent, 'ours', [published])).toMatchObject({ status: 'Not served', message: 'lost' });
  });

  test('that another implementation serves is shown, and one of another class is not', () => {
    expect(lineOf([], 'occupied')).toMatchObject({ status: 'Not ours', reason: 'HeldByAnother' });
    expect(lineOf([], 'foreign')).toBeUndefined();
  });

  test('has the traffic of all of its listeners', () => {
    const service = makeService('a');
    const [http, https] = [80, 443].map((port) => listener('192.0.2.8', port, 30_000, { service: service.key }));
    const plan = {
      eligibility: PersistentMap.from([[service.key, 'ours' as const]]),
      assignments: PersistentMap.empty<Service['key'], Assignment>(),
      table: tableOf([http!, https!]),
    };
    const each = {
      connections: 2,
      total: 5,
      bytesIn: 100,
      bytesOut: 1_000,
      packetsIn: undefined,
      packetsOut: undefined,
      refused: 1,
    };
    const rates = { connections: 1, bytesIn: 10, bytesOut: 20 };
    const traffic = new Map([
      [http!.key, { ...each, rates, recent: { flows: 3, seconds: 60 } }],
      [https!.key, { ...each, rates: undefined, recent: { flows: 4, seconds: 300 } }],
    ]);
    const known = { plan, services: new Map([[service.key, service]]) };
    expect(serviceLines(known, traffic, 0)).toMatchObject([
      {
        traffic: {
          connections: 4,
          total: 10,
          bytesIn: 200,
          bytesOut: 2_000,
          refused: 2,
          rates,
          recent: { flows: 7, seconds: 300 },
        },
      },
    ]);
    expect(serviceLines(known, new Map(), 0)).toMatchObject([{ traffic: undefined }]);
  });
});

test('a node says since when it is in its state', () => {
  const n1 = { node: nodeName('n1'), family: 4, address: '192.0.2.11', connections: 1, total: 2 } as const;
  const observed = {
    pid: 1,
    version: '2.6',
    connections: 3,
    maxConnections: 9,
    oldWorkers: 0,
    oldConnections: 0,
    upSeconds: 1,
    servers: [{ ...n1, state: 'drain', sinceMs: 4_000, health: 'silent', healthSinceMs: undefined } as const],
  };
  const clock = { monotonic: () => 6_000, now: () => Date.parse('2026-11-27T08:00:06Z') };
  expect(nodeLines(observed, clock, () => ['nat'])).toEqual([
    {
      ...n1,
      state: 'drain',
      since: '2026-11-27T08:00:04.000Z',
      health: 'silent',
      healthSince: undefined,
      uncounted: ['nat'],
    },
  ]);
});

test('the ports of a dual-stack Service are listed once, with their protocol', () => {
  const service = makeService('a');
  const served = [tcp(80)];
  const addresses = ['192.0.2.8', '2001:db8::8'].map((text) => assignedAddress(text, served));
  const plan = {
    eligibility: PersistentMap.from([[service.key, 'ours' as const]]),
    assignments: PersistentMap.from([[service.key, { ...unassigned, addresses }]]),
    table: tableOf([]),
  };
  expect(serviceLines({ plan, services: new Map([[service.key, service]]) }, new Map(), 0)).toMatchObject([
    { addresses: ['192.0.2.8', '2001:db8::8'], ports: [{ port: 80, protocol: 'TCP' }] },
  ]);
});

test('a withdrawn host serves nothing, whatever the conditions were before', () => {
  const good = { conditions: [assigned, serving] };
  const drained = { conditions: [assigned, condition('Serving', 'False', 'Drained', 'drained')] };
  const services = new Map(
    [makeService('a', {}, { status: good }), makeService('b', {}, { status: drained })].map((each) => [each.key, each]),
  );
  const plan = {
    eligibility: PersistentMap.from(Array.from(services.keys(), (key) => [key, 'ours' as const])),
    assignments: PersistentMap.empty<Service['key'], Assignment>(),
    table: tableOf([]),
  };
  const withdrawn = { plan, services, isWithdrawn: true };
  expect(serviceLines(withdrawn, new Map(), 0)).toMatchObject([
    { status: 'Not served', reason: 'Withdrawn', message: 'this host has withdrawn its addresses' },
    { status: 'Drained' },
  ]);
  expect(countServices(withdrawn).get('Serving')).toBeUndefined();
});

test('a Service that is released shows what delays it', () => {
  const message = 'furiwake is releasing it, which this host delays: nft has not answered yet';
  expect(lineOf([], 'leaving', [], ['nft has not answered yet'])).toMatchObject({ message });
});

test('Services are counted by status, those of type LoadBalancer that are ignored on their own', () => {
  const partly = { conditions: [assigned, condition('Serving', 'True', 'InvalidSourceRanges', 'invalid CIDR')] };
  const [ours, other, internal, part] = [
    makeService('a'),
    makeService('b'),
    makeService('c', { type: 'ClusterIP' }),
    makeService('d', {}, { status: partly }),
  ];
  const eligibility = PersistentMap.from<Service['key'], Eligibility>([
    [ours.key, 'ours'],
    [other.key, 'foreign'],
    [internal.key, 'foreign'],
    [part.key, 'ours'],
  ]);
  const services = new Map([ours, other, internal, part].map((service) => [service.key, service]));
  expect(countOtherServices({ plan: { eligibility }, services })).toBe(1);
  expect(countServices({ plan: { eligibility }, services })).toEqual(
    new Map([
      ['Pending', 1],
      ['Partly served', 1],
    ]),
  );
});

test.each([
  ['before the first table', undefined, undefined, 'not started'],
  ['that cannot start', tableOf([]), 'port 292 is held by nc', 'port 292 is held by nc'],
  ['that is silent', tableOf([]), undefined, 'does not answer'],
])('HAProxy %s', (_, table, trouble, words) => {
  expect(haproxyTrouble({ desired: () => table }, { trouble: () => trouble })).toBe(words);
});

test('nodes that get no connections are listed with the reason', () => {
  const nodes = [
    makeNode('n1', '192.0.2.11'),
    { ...makeNode('n2', '192.0.2.12'), excluded: 'taint' as const },
    makeNode('n3'),
  ];
  expect(unusedNodes(new Map(nodes.map((node) => [node.name, node])))).toEqual([
    { node: 'n2', addresses: ['192.0.2.12'], state: 'excluded', reason: 'taint of the cluster autoscaler' },
    { node: 'n3', addresses: [], state: 'without address', reason: '' },
  ]);
});
