import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type EndpointSlice, projectEndpointSlice } from '../api/endpoint-slice.ts';
import type { ServiceKey } from '../core/model/names.ts';
import { makeStore, type Store } from '../kube/store.ts';
import { makeEndpointCounts } from './service-counts.ts';

const web = 'shop/web' as ServiceKey;

let version = 1;
const apply = (store: Store<EndpointSlice>, slice: Pick<EndpointSlice, 'key' | 'service' | 'ready'>): void =>
  store.feed({
    type: 'apply',
    key: slice.key,
    version: String(++version),
    object: { family: 4, nodes: [], ports: [], endpoints: [], ...slice },
  });
const remove = (store: Store<EndpointSlice>, key: string): void =>
  store.feed({ type: 'delete', key, version: String(++version) });

function synced(): Store<EndpointSlice> {
  const store = makeStore<EndpointSlice>({ keyOf: ({ key }) => key });
  store.feed({ type: 'init' });
  store.feed({ type: 'initDone', version: '1' });
  return store;
}

test('nothing is known before the first full set, and then a Service without slices has none', () => {
  const store = makeStore<EndpointSlice>({ keyOf: ({ key }) => key });
  const counts = makeEndpointCounts(store);
  store.feed({ type: 'init' });
  expect(counts.of(web)).toBeUndefined();
  store.feed({ type: 'initDone', version: '1' });
  expect(counts.of(web)).toBe(0);
});

test('reports the Services that get their first or lose their last ready endpoint, and no others', () => {
  const store = synced();
  const counts = makeEndpointCounts(store);
  const told: string[][] = [];
  counts.subscribe((services) => told.push([...services]));
  apply(store, { key: 'shop/web-1', service: web, ready: 0 });
  apply(store, { key: 'shop/web-1', service: web, ready: 2 });
  apply(store, { key: 'shop/web-2', service: web, ready: 1 });
  apply(store, { key: 'shop/web-1', service: web, ready: 0 });
  expect([told, counts.of(web)]).toEqual([[['shop/web']], 1]);
  remove(store, 'shop/web-2');
  expect([told.length, counts.of(web)]).toEqual([2, 0]);
});

test('a slice that moves to another Service counts there', () => {
  const store = synced();
  const counts = makeEndpointCounts(store);
  apply(store, { key: 'shop/web-1', service: web, ready: 2 });
  apply(store, { key: 'shop/web-1', service: 'shop/api' as ServiceKey, ready: 2 });
  apply(store, { key: 'shop/loose', service: undefined, ready: 5 });
  expect([counts.of(web), counts.of('shop/api' as ServiceKey)]).toEqual([0, 2]);
});

test('after any changes the counts are those of the slices that there are', () => {
  const service = fc.constantFrom<ServiceKey | undefined>(web, 'shop/api' as ServiceKey, undefined);
  const slice = fc.record({ key: fc.constantFrom('a', 'b', 'c'), service, ready: fc.nat(2), isDeleted: fc.boolean() });
  fc.assert(
    fc.property(fc.array(slice), (changes) => {
      const store = synced();
      const counts = makeEndpointCounts(store);
      for (const { isDeleted, ...object } of changes) {
        if (isDeleted) remove(store, object.key);
        else apply(store, object);
        for (const each of [web, 'shop/api' as ServiceKey]) {
          const mine = [...store.objects().values()].filter((of) => of.service === each);
          expect(counts.of(each)).toBe(mine.reduce((sum, { ready }) => sum + ready, 0));
        }
      }
    }),
  );
});

test.each([
  ['ready', { ready: true }, 1],
  ['ready where nothing is said', {}, 1],
  ['ready without conditions', undefined, 1],
  ['not ready', { ready: false, serving: false, terminating: false }, 0],
  ['terminating and still serving', { ready: false, serving: true, terminating: true }, 1],
  ['terminating and no longer serving', { ready: false, serving: false, terminating: true }, 0],
])('an endpoint that is %s', (_, conditions, expected) => {
  const metadata = { namespace: 'shop', name: 'web-x1', labels: { 'kubernetes.io/service-name': 'web' } };
  expect(projectEndpointSlice({ metadata, endpoints: [{ addresses: ['10.0.0.1'], conditions }] })).toEqual({
    key: 'shop/web-x1',
    service: web,
    family: undefined,
    ports: [],
    endpoints: Array.from({ length: expected }, () => ({
      node: '',
      address: '10.0.0.1',
      isReady: expect.any(Boolean) as boolean,
    })),
    ready: expected,
    nodes: [],
  });
});

test('a slice whose endpoints are null, and one without the label', () => {
  expect(projectEndpointSlice({ metadata: { namespace: 'a', name: 'b' }, endpoints: null })).toEqual({
    key: 'a/b',
    service: undefined,
    family: undefined,
    ports: [],
    endpoints: [],
    ready: 0,
    nodes: [],
  });
});

test('the ports of a slice are kept by name and protocol, without those that have no number', () => {
  const ports = [
    { name: 'http', protocol: 'TCP', port: 8080 },
    { name: 'dns', protocol: 'UDP', port: 5353 },
    { name: 'any', protocol: 'TCP', port: null },
    { port: 9090 },
    { name: 7, port: '80' },
  ];
  expect(projectEndpointSlice({ addressType: 'IPv4', ports }).ports).toEqual([
    { name: 'http', protocol: 'TCP', port: 8080 },
    { name: 'dns', protocol: 'UDP', port: 5353 },
    { name: '', protocol: 'TCP', port: 9090 },
  ]);
});
