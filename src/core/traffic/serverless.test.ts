import { expect, test } from 'vitest';
import { listener, localListener, localTable, node, podListener, podTable, tableOf } from '../../../test/make/table.ts';
import type { ServiceUid } from '../model/names.ts';
import { PersistentMap } from '../persistent-map.ts';
import { makeServerlessIndex } from './serverless.ts';
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

test('the listeners without endpoints are found, though their backend has servers, and those of a former Service are not', () => {
  const index = makeServerlessIndex();
  const idle = [80, 443].map((port) => listener('192.0.2.3', port, 30_000 + port));
  const table = tableOf([web, ...idle], [n1]);
  const without = idle.map(({ key, uid }) => [key, uid] as const);
  expect([...index(table)]).toEqual([]);
  expect([...index({ ...table, withoutEndpoints: PersistentMap.from(without) })].toSorted()).toEqual(
    idle.map((each) => each.key).toSorted(),
  );
  const former = without.map(([key]) => [key, 'another' as ServiceUid] as const);
  expect([...index({ ...table, withoutEndpoints: PersistentMap.from(former) })]).toEqual([]);
  expect([...index(table)]).toEqual([]);
});
