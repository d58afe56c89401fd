import { expect, test } from 'vitest';
import { ranges as rangesOf } from '../../../test/make/service.ts';
import { listener } from '../../../test/make/table.ts';
import { type Listening, tableOf, targetOf } from '../../../test/netns/steering-rig.ts';
import { elementKey } from './element.ts';
import { changeOf, differenceTo, emptyMirror, type Mirror, withParts } from './mirror.ts';
import type { SteeringTarget } from '../../ports/steering.ts';
import { noLists, rangeListOf, resolveChange } from './range-lists.ts';
import { steeringLayout } from './steering-layout.ts';

const [http, https, other] = [
  ['192.0.2.1', 80],
  ['192.0.2.1', 443],
  ['192.0.2.2', 80],
] as const;

/** Changes a kernel from one table to the next, and says what each change does with source ranges. */
function changesOf(...tables: readonly (readonly Listening[])[]): readonly (readonly string[])[] {
  let mirror: Mirror<SteeringTarget> = emptyMirror(steeringLayout);
  return tables.map((listeners) => {
    const { parts, goal } = differenceTo(steeringLayout, targetOf(tableOf(listeners)), mirror);
    const { remove, add } = changeOf(mirror.lists, parts);
    mirror = goal;
    const said = [...remove.map((each) => `- ${elementKey(each)}`), ...add.map((each) => `+ ${elementKey(each)}`)];
    return said.filter((each) => /ranges|sources/.test(each)).toSorted();
  });
}

test('listeners with the same source ranges share them, also those of two Services, until the last one is gone', () => {
  const ranges = ['10.0.0.0/8'];
  expect(
    changesOf(
      [[...http, ranges]],
      [
        [...http, ranges],
        [...https, ranges],
        [...other, ranges],
      ],
      [[...other, ranges]],
      [],
    ),
  ).toEqual([
    ['+ ranges4 192.0.2.1 . 80 : 0:1', '+ sources4 0:1 . 10.0.0.0-10.255.255.255'],
    ['+ ranges4 192.0.2.1 . 443 : 0:1', '+ ranges4 192.0.2.2 . 80 : 0:1'],
    ['- ranges4 192.0.2.1 . 443 : 0:1', '- ranges4 192.0.2.1 . 80 : 0:1'],
    ['- ranges4 192.0.2.2 . 80 : 0:1', '- sources4 0:1 . 10.0.0.0-10.255.255.255'],
  ]);
});

test('one range of all listeners that share them changes alone', () => {
  const both = (range: string): readonly Listening[] => [http, https].map((each) => [...each, ['10.0.0.0/8', range]]);
  expect(changesOf(both('1.1.1.1'), both('2.2.2.2'))[1]).toEqual([
    '+ sources4 0:1 . 2.2.2.2',
    '- sources4 0:1 . 1.1.1.1',
  ]);
});

test('a change of one of the listeners that share ranges leaves those of the others', () => {
  const [before, after] = [['10.0.0.0/8'], ['10.0.0.0/8', '1.1.1.1']];
  expect(
    changesOf(
      [
        [...http, before],
        [...other, before],
      ],
      [
        [...http, after],
        [...other, before],
      ],
    )[1],
  ).toEqual([
    '+ ranges4 192.0.2.1 . 80 : 0:2',
    '+ sources4 0:2 . 1.1.1.1',
    '+ sources4 0:2 . 10.0.0.0-10.255.255.255',
    '- ranges4 192.0.2.1 . 80 : 0:1',
  ]);
});

test('while nft refuses one of the listeners that share ranges, it keeps the former ones, and the others get the new ones', () => {
  const targetWith = (ranges: readonly string[]): SteeringTarget =>
    targetOf(tableOf([http, https].map((each): Listening => [...each, ranges])));
  const before = differenceTo(steeringLayout, targetWith(['10.0.0.0/8']), emptyMirror(steeringLayout)).goal;
  const target = targetWith(['1.1.1.1']);
  const { parts, start } = differenceTo(steeringLayout, target, before);
  const accepted = parts.slice(0, 1);
  expect(changeOf(start.lists, accepted).add.map(elementKey)).toContain('sources4 0:2 . 1.1.1.1');
  const mirror = withParts(steeringLayout, start, target, accepted);
  const rest = changeOf(mirror.lists, differenceTo(steeringLayout, target, mirror).parts);
  expect(rest.remove.map(elementKey)).toContain('sources4 0:1 . 10.0.0.0-10.255.255.255');
  expect(rest.add).toEqual([{ set: 'ranges4', text: expect.stringMatching(/ : 0:2$/) }]);
});

test('listeners that shared ranges and get different ones at once have no number in common', () => {
  const shared = ['10.0.0.0/8'];
  const [, change] = changesOf(
    [http, other].map((each): Listening => [...each, shared]),
    [
      [...http, ['1.1.1.1']],
      [...other, ['2.2.2.2']],
    ],
  );
  const added = change?.filter((each) => each.startsWith('+ sources4')) ?? [];
  expect(added.map((each) => each.split(' . ')[1] ?? '').toSorted()).toEqual(['1.1.1.1', '2.2.2.2']);
  expect(new Set(added.map((each) => each.split(' ')[2])).size).toBe(2);
});

test('a change may have more elements than a call can have arguments', () => {
  const list = rangeListOf(listener('192.0.2.1', 80, 30_080, { sourceRanges: rangesOf('10.0.0.0/8') }), 'mark');
  const add = Array.from({ length: 250_000 }, (_, index) => ({ set: 'listeners4', text: String(index) }));
  const { change } = resolveChange(noLists, { remove: [], add: [...add, { set: 'ranges4', text: 'first', list }] });
  expect(change.add).toHaveLength(250_002);
});
