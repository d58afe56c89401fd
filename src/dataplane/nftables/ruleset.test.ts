import { expect, test } from 'vitest';
import { addressesOf } from '../../../test/make/table.ts';
import { type Listening, ours, tableOf, targetOf } from '../../../test/netns/steering-rig.ts';
import type { SteeringTarget } from '../../ports/steering.ts';
import { allElements, changeOf, differenceTo, emptyMirror } from './mirror.ts';
import { steeringRules, steeringTable } from './ruleset.ts';
import { renderChange, renderTable } from './table-text.ts';
import { makeOwnAddressIndex, steeringLayout } from './steering-layout.ts';

test.each<
  [
    string,
    readonly Listening[],
    added: typeof ours,
    own?: SteeringTarget['own'],
    isBridgeFiltered?: boolean,
    hasFormerNat?: boolean,
  ]
>([
  ['nothing', [], addressesOf()],
  [
    'open-listeners',
    [
      ['10.50.0.2', 443],
      ['10.50.0.1', 80],
      ['fd50::1', 80],
    ],
    ours,
  ],
  [
    'source-ranges',
    [
      ['10.50.0.1', 80, ['192.0.2.0/24', '198.51.100.7']],
      ['10.50.0.1', 443, []],
      ['10.50.0.2', 80, ['0.0.0.0/0']],
      ['fd50::1', 80, ['2001:db8::/32', '::ffff:192.0.2.1']],
      ['fd50::1', 443, ['::/0']],
    ],
    ours,
  ],
  [
    'own-address',
    [
      ['192.0.2.51', 80],
      ['2001:db8::51', 80],
    ],
    addressesOf(),
    addressesOf('192.0.2.51', '2001:db8::51'),
  ],
  ['bridges', [], addressesOf(), new Map(), true],
  ['own-address-and-bridges', [['192.0.2.51', 80]], addressesOf(), addressesOf('192.0.2.51'), true],
  ['former-nat-and-bridges', [['192.0.2.51', 80]], addressesOf(), addressesOf(), true, true],
])(
  'the table for %s is unchanged',
  async (name, listeners, added, own = new Map(), isBridgeFiltered = false, hasFormerNat = false) => {
    const target = targetOf(tableOf(listeners), added, undefined, own);
    const hasOwnAddresses = makeOwnAddressIndex()(target);
    const text = renderTable(
      steeringTable,
      allElements(steeringLayout, differenceTo(steeringLayout, target, emptyMirror(steeringLayout)).goal),
      7,
      steeringRules({ hasOwnAddresses, isBridgeFiltered, hasFormerNat }),
    );
    await expect(text).toMatchFileSnapshot(`__golden__/${name}.nft`);
  },
);

test('a change is one line that also exchanges the generation', () => {
  const before: readonly Listening[] = [
    ['10.50.0.1', 80],
    ['10.50.0.1', 81],
  ];
  const after: readonly Listening[] = [
    ['10.50.0.1', 80],
    ['10.50.0.2', 82, ['10.0.0.0/8']],
  ];
  const mirror = differenceTo(steeringLayout, targetOf(tableOf(before)), emptyMirror(steeringLayout)).goal;
  const change = changeOf(mirror.lists, differenceTo(steeringLayout, targetOf(tableOf(after)), mirror).parts);
  expect(renderChange(steeringTable, change, 9, 10).split('; ')).toEqual([
    'delete element inet furiwake generation { 0x9 }',
    'add element inet furiwake generation { 0xa }',
    'delete element inet furiwake listeners4 { 10.50.0.1 . 81 }',
    'add element inet furiwake sources4 { 0:1 . 10.0.0.0-10.255.255.255 }',
    'add element inet furiwake listeners4 { 10.50.0.2 . 82 : 10000 }',
    'add element inet furiwake refused4 { 10.50.0.2 . 82 }',
    'add element inet furiwake ranges4 { 10.50.0.2 . 82 : 0:1 }',
  ]);
});
