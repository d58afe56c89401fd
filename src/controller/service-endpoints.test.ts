import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nodeName } from '../../test/make/table.ts';
import type { EndpointSlice } from '../api/endpoint-slice.ts';
import type { ServiceKey } from '../core/model/names.ts';
import type { Endpoint } from '../core/traffic/pods.ts';
import { makeStore, type Store } from '../kube/store.ts';
import { makeEndpointsByService } from './service-endpoints.ts';

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
const remove = (store: Store<EndpointSlice>, key: string): void =>
  store.feed({ type: 'delete', key, version: String(++version) });

function endpoints(count: number): readonly Endpoint[] {
  return Array.from({ length: count }, (_, index) => ({
    address: `10.0.0.${index}`,
    node: nodeName('n1'),
    isReady: true,
  }));
}

function slice(key: string, service: ServiceKey | undefined, count: number): EndpointSlice {
  return { key, service, family: 4, nodes: [], ports: [], endpoints: endpoints(count) };
}

test('nothing is known before the first full set; a watch that fails later changes nothing', async () => {
  const store = makeSlices();
  const known = makeEndpointsByService(store);
  store.feed({ type: 'init' });
  expect([known.all(), known.countOf(web)]).toEqual([undefined, undefined]);
  store.feed({ type: 'initDone', version: '1' });
  await known.known;
  expect(known.countOf(web)).toBe(0);
  apply(store, slice('a', web, 1));
  const before = known.all();
  store.feed({ type: 'error', error: new Error('gone') } as never);
  expect(known.all()).toBe(before);
});

test('a change reports the Services that it concerns, and those that got their first or lost their last endpoint', () => {
  const store = synced();
  const known = makeEndpointsByService(store);
  const told: string[] = [];
  known.subscribe((changed, turned) => told.push(`${[...changed].toSorted().join()} ${[...turned].toSorted().join()}`));
  apply(store, slice('a', web, 0));
  apply(store, slice('a', web, 2));
  apply(store, slice('b', web, 1));
  apply(store, slice('a', web, 0));
  apply(store, slice('b', api, 1));
  remove(store, 'b');
  expect(told).toEqual([
    'shop/web ',
    'shop/web shop/web',
    'shop/web ',
    'shop/web ',
    'shop/api,shop/web shop/api,shop/web',
    'shop/api shop/api',
  ]);
});

test('a port that gets its first endpoint is reported, too', () => {
  const store = synced();
  const known = makeEndpointsByService(store);
  const told: string[] = [];
  known.subscribe((_, turned) => told.push([...turned].join()));
  const named = (name: string): EndpointSlice => ({
    ...slice(name, web, 1),
    ports: [{ name, protocol: 'TCP', port: 1 }],
  });
  apply(store, named('p'));
  apply(store, named('q'));
  apply(store, { ...named('q'), endpoints: endpoints(2) });
  remove(store, 'q');
  expect(told).toEqual([web, web, '', web]);
});

test('after any changes each Service has the EndpointSlices that are its own, and their endpoints count', () => {
  const change = fc.record({
    key: fc.constantFrom('a', 'b', 'c'),
    service: fc.constantFrom<ServiceKey | undefined>(web, api, undefined),
    count: fc.nat(2),
    isDeleted: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(change), (changes) => {
      const store = synced();
      const known = makeEndpointsByService(store);
      for (const { isDeleted, key, service, count } of changes) {
        if (isDeleted) remove(store, key);
        else apply(store, slice(key, service, count));
        for (const each of [web, api]) {
          const mine = [...store.objects().values()].filter((of) => of.service === each);
          expect(known.countOf(each)).toBe(mine.reduce((sum, { endpoints: all }) => sum + all.length, 0));
          expect(new Set(known.all()?.get(each) ?? [])).toEqual(new Set(mine));
          expect(known.all()?.get(each)).not.toEqual([]);
        }
      }
    }),
  );
});
