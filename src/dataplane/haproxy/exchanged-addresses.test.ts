import { expect, test } from 'vitest';
import { makeMachineRig, upsert } from '../../../test/make/haproxy-rig.ts';
import { listener, node, tableOf } from '../../../test/make/table.ts';

const web = listener('192.0.2.51', 80, 30_080);
const nodes = (one: string, other: string) => [node('n1', one), node('n2', other)];

test.each<[string, readonly (readonly [string, string])[]]>([
  ['at once', [['192.0.2.12', '192.0.2.11']]],
  [
    'by way of a third one',
    [
      ['192.0.2.13', '192.0.2.12'],
      ['192.0.2.13', '192.0.2.11'],
      ['192.0.2.12', '192.0.2.11'],
    ],
  ],
])('nodes that exchange their addresses %s are reached at the new ones, without a reload', async (_, steps) => {
  const rig = makeMachineRig();
  await upsert(rig, tableOf([web], nodes('192.0.2.11', '192.0.2.12')));
  for (const [one, other] of steps) {
    expect(await upsert(rig, tableOf([web], nodes(one, other)))).toEqual(new Map());
    expect(Object.fromEntries(rig.machine.held?.servers ?? [])).toEqual({ 'nodes4/n1': one, 'nodes4/n2': other });
  }
  expect([rig.machine.starts, rig.metrics.total('furiwake_reloads_total')]).toEqual([1, 0]);
});
