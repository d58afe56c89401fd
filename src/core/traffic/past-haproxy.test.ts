import { expect, test } from 'vitest';
import { directListener, listener, localListener, localTable, node, nodeName } from '../../../test/make/table.ts';
import { pastHaproxy } from './past-haproxy.ts';

test('the dataplanes of the listeners that send flows to a node, stand-ins among them', () => {
  const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
  const web = localListener('10.50.0.1', 80, 30_080, 'test/web');
  const dns = { ...directListener('10.50.0.2', 53), service: web.service, backend: web.backend };
  const game = { ...dns, standIn: 'nat' as const };
  const plain = listener('10.50.0.3', 80, 30_081);
  const found = (each: typeof dns | typeof web, name: string): unknown =>
    pastHaproxy(
      localTable(
        [
          [each, { n1: 1 }],
          [plain, { n1: 1, n2: 1 }],
        ],
        nodes,
      ),
      nodeName(name),
    );
  expect(found(web, 'n1')).toEqual([]);
  expect(found(dns, 'n1')).toEqual(['direct']);
  expect(found(dns, 'n2')).toEqual([]);
  expect(found(game, 'n1')).toEqual(['direct', 'nat']);
});
