import { expect, test } from 'vitest';
import { listener, localListener, localTable, node, podListener, podTable, tableOf } from '../../../test/make/table.ts';
import { emptyTable, serverlessListeners } from './table.ts';

const [web, mail] = [listener('192.0.2.1', 80, 30_000), listener('2001:db8::1', 25, 30_001)];

test('a listener whose backend has no server is found, one whose backend is not known is not', () => {
  expect([...serverlessListeners(tableOf([web, mail], [node('n1', '192.0.2.11')]))]).toEqual([mail.key]);
  const { listeners } = tableOf([web, mail]);
  expect(serverlessListeners({ ...emptyTable, listeners }).size).toBe(0);
  const local = localListener('192.0.2.1', 443, 30_002);
  expect([...serverlessListeners(localTable([[local, {}]], [node('n1', '192.0.2.11')]))]).toEqual([local.key]);
  const pods = podListener('192.0.2.1', 8080);
  expect([...serverlessListeners(podTable([[pods, []]]))]).toEqual([pods.key]);
  expect(serverlessListeners(podTable([[pods, ['10.244.1.7 8080']]])).size).toBe(0);
});
