import { expect, test } from 'vitest';
import { byKey, ip, makeService, ranges } from '../../test/make/service.ts';
import { listenerKey } from '../core/traffic/table.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { withoutStale } from './stale-records.ts';

const pool = ranges('192.0.2.8-192.0.2.9', '2001:db8::8/126');

test.each([
  ['the same address', ['192.0.2.8'], '192.0.2.8'],
  ['another address of the pool', ['192.0.2.9'], ''],
  ['no address: another client cleared it', [], '192.0.2.8'],
  ['an address outside the pool, and a host name', ['10.0.0.1', undefined], '192.0.2.8'],
  ['the same address, and one of another family', ['192.0.2.8', '2001:db8::8'], ''],
])('a record stands against a status with %s, unless the pool has another one', (_, shown, kept) => {
  const service = makeService(
    'a',
    {},
    { status: { ingress: shown.map((text) => ({ ip: text, hostname: undefined, ipMode: undefined, ports: [] })) } },
  );
  const address = ip('192.0.2.8');
  const record = {
    uid: service.uid,
    service: service.key,
    addresses: [address],
    listeners: [listenerKey(address, 80, 'TCP')],
  };
  const records = PersistentMap.from([[service.uid, record]]);
  const after = withoutStale(records, byKey([service, makeService('new')]), pool).get(service.uid);
  expect(after?.addresses.map(({ text }) => text).join()).toBe(kept);
  expect(after?.listeners).toHaveLength(kept === '' ? 0 : 1);
});

test('a record whose address only another Service shows has no address', () => {
  const { uid, key } = makeService('a');
  const record = { uid, service: key, addresses: [ip('192.0.2.8')], listeners: [] };
  const ingress = [{ ip: '192.0.2.8', hostname: undefined, ipMode: undefined, ports: [] }];
  const other = makeService('b', {}, { status: { ingress } });
  const after = (a: ReturnType<typeof makeService>): unknown =>
    withoutStale(PersistentMap.from([[uid, record]]), byKey([a, other]), pool).get(uid);
  expect(after(makeService('a'))).toEqual({ ...record, addresses: [] });
  expect(after(makeService('a', {}, { status: { ingress } }))).toBe(record);
});

test.each([
  ['the same address: the pool was narrowed', ['192.0.2.200'], '192.0.2.200'],
  ['an address of the pool of the other host', ['192.0.2.206'], ''],
  ['no address: another client cleared it', [], '192.0.2.200'],
])('a record outside the pool stands against a status with %s, unless another one is shown', (_, shown, kept) => {
  const ingress = shown.map((text) => ({ ip: text, hostname: undefined, ipMode: undefined, ports: [] }));
  const service = makeService('a', {}, { status: { ingress } });
  const record = { uid: service.uid, service: service.key, addresses: [ip('192.0.2.200')], listeners: [] };
  const after = withoutStale(PersistentMap.from([[service.uid, record]]), byKey([service]), pool).get(service.uid);
  expect(after?.addresses.map(({ text }) => text).join()).toBe(kept);
});

test('a record outside the pool has no address if another Service shows it', () => {
  const { uid, key } = makeService('a');
  const record = { uid, service: key, addresses: [ip('192.0.2.200')], listeners: [] };
  const ingress = [{ ip: '192.0.2.200', hostname: undefined, ipMode: undefined, ports: [] }];
  const services = byKey([makeService('a'), makeService('b', {}, { status: { ingress } })]);
  expect(withoutStale(PersistentMap.from([[uid, record]]), services, pool).get(uid)?.addresses).toEqual([]);
});
