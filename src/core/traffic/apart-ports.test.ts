import { expect, test } from 'vitest';
import { byKey, ip, makeNode, makeService, tcp, udp } from '../../../test/make/service.ts';
import { projectEndpointSlice } from '../../api/endpoint-slice.ts';
import type { NodeName, ServiceKey } from '../model/names.ts';
import type { Service } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import type { ServiceEndpoints } from './local.ts';
import { makeTrafficPlanner } from './plan.ts';
import { emptyReport } from './report.ts';
import { backendOf, type TrafficTable } from './table.ts';

const ports = [tcp(80), udp(53)];
const service = makeService('web', { externalTrafficPolicy: 'Local', healthCheckNodePort: 32_000, ports });

type Slice = { readonly of: readonly string[]; readonly on: readonly string[]; readonly isIpv6?: boolean };

/** Slices with an endpoint on each of the nodes `on`, and the ports `of`. */
function endpointsOf(...slices: readonly Slice[]): ServiceEndpoints {
  return slices.map(({ of, on, isIpv6 = false }, index) =>
    projectEndpointSlice({
      metadata: {},
      addressType: isIpv6 ? 'IPv6' : 'IPv4',
      ports: of.map((name) => ({ name, protocol: name === 'p80' ? 'TCP' : 'UDP', port: 8080 })),
      endpoints: on.map((nodeName) => ({ addresses: [isIpv6 ? `fd00::${index}` : `10.244.0.${index}`], nodeName })),
    }),
  );
}

/** Of each table that a planner makes: the nodes by port, and the backends of the Service. */
function planEach(...steps: readonly (ServiceEndpoints | undefined)[]): readonly TrafficTable[] {
  const plan = makeTrafficPlanner();
  return steps.map((endpoints) => plan(inputOf([service], endpoints)));
}

function inputOf(
  services: readonly Service[],
  endpoints: ServiceEndpoints | undefined,
): Parameters<ReturnType<typeof makeTrafficPlanner>>[0] {
  return {
    services: byKey(services),
    assignments,
    overBudget: new Set(),
    overProfiles: new Map(),
    overServers: new Map(),
    onLink: emptyReport.onLink,
    nodes,
    drained: new Set(),
    drainedServices: new Set(),
    endpoints: endpoints && PersistentMap.from<ServiceKey, ServiceEndpoints>([[service.key, endpoints]]),
    podPlace,
  };
}

const nodes = new Map(
  ['n1', 'n2', 'n3'].map((name, index) => [name as NodeName, makeNode(name, `192.0.2.1${index}`)] as const),
);
const podPlace = {
  routed: [],
  reserved: new Map<string, string>(),
  pool: [],
  zone: undefined,
  drained: new Set<never>(),
};
const assignments = PersistentMap.from([
  [
    service.key,
    {
      addresses: [{ ip: ip('192.0.2.100'), isHostAddress: false, served: ports, unserved: [] }],
      verdict: { reason: 'Assigned' as const, message: '' },
      refused: [],
      disowned: [],
      keepsStatus: false,
      waitsForHost: false,
    },
  ] as const,
]);

const nodesByPort = (table: TrafficTable | undefined): Readonly<Record<number, string>> =>
  Object.fromEntries(
    Array.from(table?.listeners.values() ?? [], ({ port, backend }) => [
      port,
      backendOf(table!, backend, 4)
        .servers.map(({ node }) => node)
        .join(),
    ]),
  );
const ownBackends = (table: TrafficTable | undefined): readonly string[] =>
  [...(table?.backends.keys() ?? [])].filter((id) => id.startsWith('local')).toSorted();

const both = { of: ['p80', 'p53'], on: ['n1', 'n2'] };

test('while all endpoints serve all ports, the ports have one backend', () => {
  for (const endpoints of [endpointsOf(both), endpointsOf(both, { of: both.of, on: ['n3'] })]) {
    const [table] = planEach(endpoints);
    expect(ownBackends(table)).toEqual(['local4:default/web']);
  }
});

test('a port that only some endpoints serve has only the nodes of these', () => {
  const [table] = planEach(endpointsOf({ of: ['p80'], on: ['n1', 'n3'] }, { of: ['p80', 'p53'], on: ['n2'] }));
  expect(nodesByPort(table)).toEqual({ 80: 'n1,n2,n3', 53: 'n2' });
  expect(ownBackends(table)).toEqual(['local4:default/web', 'local4:default/web:53/UDP']);
  const [alone] = planEach(endpointsOf({ of: ['p80'], on: ['n1'] }, { of: ['p53'], on: ['n3'] }));
  expect(nodesByPort(alone)).toEqual({ 80: 'n1', 53: 'n3' });
});

test('a port that no endpoint serves keeps the nodes of the Service: it may have been renamed', () => {
  const [table] = planEach(endpointsOf({ of: ['p80'], on: ['n1'] }, { of: ['p80', 'other'], on: ['n2'] }));
  expect(nodesByPort(table)).toEqual({ 80: 'n1,n2', 53: 'n1,n2' });
});

test('slices without endpoints, and those of the other family, set no port apart', () => {
  const [table] = planEach(endpointsOf(both, { of: ['p80'], on: [] }, { of: ['p80'], on: ['n3'], isIpv6: true }));
  expect(nodesByPort(table)).toEqual({ 80: 'n1,n2', 53: 'n1,n2' });
});

test('ports part and meet again as the slices say; the others are not planned again', () => {
  const apart = endpointsOf(both, { of: ['p80'], on: ['n3'] });
  const tables = planEach(endpointsOf(both), apart, endpointsOf(both, { of: ['p80'], on: [] }), undefined);
  expect(tables.map(nodesByPort)).toEqual([
    { 80: 'n1,n2', 53: 'n1,n2' },
    { 80: 'n1,n2,n3', 53: 'n1,n2' },
    { 80: 'n1,n2', 53: 'n1,n2' },
    { 80: 'n1,n2,n3', 53: 'n1,n2,n3' },
  ]);
  expect(tables.map((table) => ownBackends(table).length)).toEqual([1, 2, 1, 0]);
  const listeners = tables.map((table) => [...table.listeners.values()].find(({ port }) => port === 80));
  expect(listeners[1]).toEqual(listeners[0]);
});

test('a Service that goes takes its backends with it', () => {
  const plan = makeTrafficPlanner();
  const apart = endpointsOf(both, { of: ['p80'], on: ['n3'] });
  plan(inputOf([service], apart));
  expect(ownBackends(plan(inputOf([], apart)))).toEqual([]);
});

test('a Service that is replaced within one turn is another one', () => {
  const plan = makeTrafficPlanner();
  const [first] = [...plan(inputOf([service], undefined)).listeners.values()];
  const next = { ...service, uid: 'another' as Service['uid'] };
  const [second] = [...plan(inputOf([next], undefined)).listeners.values()];
  expect([first?.uid, second?.uid]).toEqual([service.uid, 'another']);
});
