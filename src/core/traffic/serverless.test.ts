import { expect, test } from 'vitest';
import { byKey, makeService } from '../../../test/make/service.ts';
import { listener, localListener, localTable, node, podListener, podTable, tableOf } from '../../../test/make/table.ts';
import { projectEndpointSlice } from '../../api/endpoint-slice.ts';
import { serviceKey, type ServiceKey } from '../model/names.ts';
import { PersistentMap } from '../persistent-map.ts';
import type { ServiceEndpoints } from './local.ts';
import { makeServerlessIndex, makeWithoutEndpoints } from './serverless.ts';
import { emptyTable, type TrafficTable } from './table.ts';

const [web, mail] = [listener('192.0.2.1', 80, 30_000), listener('2001:db8::1', 25, 30_001)];
const n1 = node('n1', '192.0.2.11');

const serverlessIn = (table: TrafficTable): readonly string[] => [...makeServerlessIndex()(table)];

test('a listener whose backend has no server is found, one whose backend is not known is not', () => {
  expect(serverlessIn(tableOf([web, mail], [n1]))).toEqual([mail.key]);
  const { listeners } = tableOf([web, mail]);
  expect(serverlessIn({ ...emptyTable, listeners })).toEqual([]);
  const local = localListener('192.0.2.1', 443, 30_002);
  expect(serverlessIn(localTable([[local, {}]], [n1]))).toEqual([local.key]);
  const pods = podListener('192.0.2.1', 8080);
  expect(serverlessIn(podTable([[pods, []]]))).toEqual([pods.key]);
  expect(serverlessIn(podTable([[pods, ['10.244.1.7 8080']]]))).toEqual([]);
});

test('from table to table the result is that of a new index', () => {
  const other = listener('2001:db8::2', 25, 30_003);
  const tables = [
    tableOf([web, mail], [n1]),
    tableOf([web, mail, other], [n1]),
    tableOf([web, other], [n1]),
    tableOf([web, other], [node('n2', '2001:db8::11')]),
    tableOf([web, other], [n1]),
    emptyTable,
  ];
  const index = makeServerlessIndex();
  expect(tables.map((table) => [...index(table)].toSorted())).toEqual(
    tables.map((table) => serverlessIn(table).toSorted()),
  );
});

test('while no listener gains or loses its servers, the set is the same object', () => {
  const index = makeServerlessIndex();
  const first = index(tableOf([web, mail], [n1]));
  expect(index(tableOf([web, listener('192.0.2.1', 81, 30_004), mail], [n1]))).toBe(first);
});

test('the listeners of a Service without endpoints are found, though its backend has servers', () => {
  const index = makeServerlessIndex();
  const key = serviceKey('shop', 'idle');
  const idle = [80, 443].map((port) => listener('192.0.2.3', port, 30_000 + port, { service: key }));
  const table = tableOf([web, ...idle], [n1]);
  const without = { ...table, withoutEndpoints: PersistentMap.from([[key, true] as const]) };
  expect([...index(table)]).toEqual([]);
  expect([...index(without)].toSorted()).toEqual(idle.map((each) => each.key).toSorted());
  expect([...index(table)]).toEqual([]);
});

const endpointsOf = (...slices: readonly (readonly object[])[]): ServiceEndpoints => {
  const groups = slices.map((endpoints) => projectEndpointSlice({ metadata: {}, addressType: 'IPv4', endpoints }));
  return { 4: [], 6: [], groups };
};
const ending = (serving: boolean): object => ({
  addresses: ['10.244.0.1'],
  conditions: { ready: false, serving, terminating: true },
});

test.each([
  ['no EndpointSlice', undefined, false],
  ['an empty one, as Kubernetes keeps for a Service without Pods', endpointsOf([]), true],
  ['empty ones of both families', endpointsOf([], []), true],
  ['one with an endpoint among empty ones', endpointsOf([], [{ addresses: ['10.244.0.1'] }]), false],
  ['an endpoint that terminates and serves', endpointsOf([ending(true)]), false],
  ['only endpoints that serve no longer', endpointsOf([ending(false)]), true],
])('a Service with %s', (_, endpoints, isWithout) => {
  const service = makeService('web');
  const known = PersistentMap.from<ServiceKey, ServiceEndpoints>(endpoints ? [[service.key, endpoints]] : []);
  expect(makeWithoutEndpoints()(byKey([service]), known).has(service.key)).toBe(isWithout);
});

test('Services without endpoints follow Services and endpoints, and stay while the endpoints are not known', () => {
  const withoutEndpoints = makeWithoutEndpoints();
  const [one, other] = [makeService('web'), makeService('mail')];
  const none = PersistentMap.from([[one.key, endpointsOf([])] as const, [other.key, endpointsOf([])] as const]);
  const keys = (services: readonly (typeof one)[], known: typeof none | undefined): readonly string[] =>
    [...withoutEndpoints(byKey(services), known).keys()].toSorted();
  expect(keys([one], undefined)).toEqual([]);
  expect(keys([one], none)).toEqual([one.key]);
  expect(withoutEndpoints(byKey([one]), none)).toBe(withoutEndpoints(byKey([one]), none));
  expect(keys([one, other], undefined)).toEqual([other.key, one.key].toSorted());
  expect(keys([one, other], none.with([[one.key, endpointsOf([{ addresses: ['10.244.0.1'] }])]]))).toEqual([other.key]);
  expect(keys([one], none)).toEqual([one.key]);
});
