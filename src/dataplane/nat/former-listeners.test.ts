import { expect, test } from 'vitest';
import { makeNatMachine } from '../../../test/make/nat-machine.ts';
import { listener, natListener, node, tableOf } from '../../../test/make/table.ts';
import { parseRange } from '../../core/ip/range.ts';

test('connections that stay with nat are dropped when a change of the source ranges excludes their client', async () => {
  const { nat, nft } = makeNatMachine();
  const { signal } = new AbortController();
  const apply = (each: ReturnType<typeof listener>): ReturnType<typeof nat.apply> =>
    nat.apply(tableOf([each], [node('n1', '192.0.2.11')]), signal);
  const restricted = (): readonly string[] =>
    [...(nft.elements() ?? [])].filter((element) => element.startsWith('refused4 '));
  await apply(natListener('203.0.113.1', 80, 30_080, { protocol: 'TCP' }));
  await apply(listener('203.0.113.1', 80, 30_080));
  expect(restricted()).toEqual([]);
  await apply(listener('203.0.113.1', 80, 30_080, { sourceRanges: [parseRange('198.51.100.0/24')!] }));
  expect(restricted()).toEqual(['refused4 203.0.113.1 . tcp . 80']);
});
