import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nodeName } from '../../test/make/table.ts';
import type { EndpointSlice } from '../api/endpoint-slice.ts';
import type { ServiceKey } from '../core/model/names.ts';
import { sumOfEndpoints } from '../core/traffic/local.ts';
import { makeStore, type Store } from '../kube/store.ts';
import { makeLocalEndpoints } from './local-endpoints.ts';

const web = 'shop/web' as ServiceKey;
const api = 'shop/api' as ServiceKey;

function makeSlices(): Store<EndpointSlice> {
  return makeStore<EndpointSlice>({ keyOf: ({ key }) => key });
}

function synced(): Store<EndpointSlice> {
  const store = makeSlices();
  store.feed({ type: 'init' });
  store.feed({ type: 'initDone', version: '1' });
  return store;
}

let version = 1;
const apply = (store: Store<EndpointSlice>, object: EndpointSlice): void =>
  store.feed({ type: 'apply', key: object.key, version: String(++version), object });

function slice(key: string, service: ServiceKey, nodes: Readonly<Record<string, number>>): EndpointSlice {
  const counts = Object.entries(nodes).map(([node, ready]) => ({ node: nodeName(node), ready, terminating: 0 }));
  return { key, service, family: 4, ready: 1, nodes: counts, ports: [], endpoints: [] };
}

test('nothing is known before the first full set; a watch that fails later changes nothing', async () => {
  const store = makeSlices();
  const endpoints = makeLocalEndpoints(store);
  store.feed({ type: 'init' });
  expect(endpoints.all()).toBeUndefined();
  store.feed({ type: 'initDone', version: '1' });
  await endpoints.known;
  apply(store, slice('a', web, { n1: 1 }));
  const before = endpoints.all();
  store.feed({ type: 'error', error: new Error('gone') } as never);
  expect(endpoints.all()).toBe(before);
});

test('a change reports the Services that it concerns, once, and only if it changes their endpoints', () => {
  const store = synced();
  const endpoints = makeLocalEndpoints(store);
  const told: string[] = [];
  endpoints.subscribe((services) => told.push([...services].join()));
  apply(store, slice('a', web, { n1: 1 }));
  apply(store, { ...slice('a', web, { n1: 1 }), ready: 7 });
  apply(store, slice('a', api, { n1: 1 }));
  expect(told.map((line) => line.split(',').toSorted().join())).toEqual(['shop/web', '', 'shop/api,shop/web']);
});

test('after any changes each Service has the sum of its slices, by family', () => {
  const change = fc.record({
    key: fc.constantFrom('a', 'b', 'c'),
    service: fc.constantFrom<ServiceKey | undefined>(web, api, undefined),
    family: fc.constantFrom<4 | 6 | undefined>(4, 6, undefined),
    nodes: fc
      .array(fc.record({ node: fc.constantFrom('n1', 'n2').map(nodeName), ready: fc.nat(2), terminating: fc.nat(2) }))
      .map(sumOfEndpoints),
    isDeleted: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(change), (changes) => {
      const store = synced();
      const endpoints = makeLocalEndpoints(store);
      for (const { isDeleted, ...object } of changes) {
        if (isDeleted) store.feed({ type: 'delete', key: object.key, version: String(++version) });
        else apply(store, { ready: 0, ports: [], endpoints: [], ...object });
        for (const service of [web, api])
          for (const family of [4, 6] as const) {
            const mine = [...store.objects().values()].filter((of) => of.service === service && of.family === family);
            expect(endpoints.all()?.get(service)?.[family] ?? []).toEqual(
              sumOfEndpoints(mine.flatMap(({ nodes }) => nodes)),
            );
          }
      }
    }),
  );
});
