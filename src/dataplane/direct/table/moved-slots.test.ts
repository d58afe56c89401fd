import { expect, test } from 'vitest';
import type { ListenerKey } from '../../../core/model/names.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import { slotCount, smallSlotCount } from './rule-parts.ts';
import { makeMovedSlots } from './moved-slots.ts';
import type { SlotGroup } from './program.ts';

const group = (id: number, ...marks: readonly number[]): SlotGroup => ({ id, marks, open: [] });
const groupsOf = (groups: Readonly<Record<string, SlotGroup>>): PersistentMap<ListenerKey, SlotGroup> =>
  PersistentMap.from(Object.entries(groups).map(([key, each]) => [key as ListenerKey, each]));

test('slots of a group that get another node are named with the one of before, for ten seconds', () => {
  const movedSlots = makeMovedSlots();
  expect(movedSlots({ groups: groupsOf({ a: group(1, 7, 7, 8) }), nowMs: 0 })).toEqual([]);
  const changed = groupsOf({ a: group(1, 7, 9, 9) });
  const slots = [
    { group: 1, slot: 1, mark: 7 },
    { group: 1, slot: 2, mark: 8 },
  ];
  expect(movedSlots({ groups: changed, nowMs: 1_000 })).toEqual(slots);
  expect(movedSlots({ groups: changed, nowMs: 10_999 })).toEqual(slots);
  expect(movedSlots({ groups: changed, nowMs: 11_000 })).toEqual([]);
});

test('a slot that gets a third node meanwhile keeps its name: the kernel has the element still', () => {
  const movedSlots = makeMovedSlots();
  for (const [nowMs, mark] of [
    [0, 7],
    [1_000, 8],
    [2_000, 9],
  ] as const)
    movedSlots({ groups: groupsOf({ a: group(1, mark) }), nowMs });
  expect(movedSlots({ groups: groupsOf({ a: group(1, 9) }), nowMs: 2_000 })).toMatchObject([{ mark: 7 }]);
});

test('a group that takes the place of another names the slots of that one; one that others have, or of another size, does not', () => {
  for (const [before, after, marks] of [
    [{ a: group(1, 7) }, { a: group(2, 8) }, [7]],
    [{ a: group(1, 7), b: group(2, 8) }, { a: group(2, 8), b: group(2, 8) }, []],
    [{ a: group(1, 7) }, { a: group(2, 8, 8) }, []],
    [{ a: group(1, 7) }, {}, []],
    [{}, { a: group(1, 7) }, []],
  ] as const) {
    const movedSlots = makeMovedSlots();
    movedSlots({ groups: groupsOf(before), nowMs: 0 });
    const slots = movedSlots({ groups: groupsOf(after), nowMs: 0 });
    expect(slots.map(({ mark }) => mark)).toEqual(marks);
  }
});

test('a group that gets both other nodes and a listener of another group names its own slots', () => {
  const movedSlots = makeMovedSlots();
  movedSlots({ groups: groupsOf({ a: group(1, 7), b: group(2, 8), c: group(1, 7) }), nowMs: 0 });
  const now = group(2, 9);
  const slots = movedSlots({ groups: groupsOf({ a: now, b: now, c: now }), nowMs: 0 });
  expect(slots.map(({ mark }) => mark)).toEqual([8]);
});

test('of very many slots only some are named: the nodes of the others do not wait for them', () => {
  const movedSlots = makeMovedSlots();
  const groupsWith = (mark: number): PersistentMap<ListenerKey, SlotGroup> => {
    const marks = Array.from({ length: smallSlotCount }, () => mark);
    return groupsOf(Object.fromEntries(Array.from({ length: 200 }, (_, id) => [`l${id}`, group(id, ...marks)])));
  };
  movedSlots({ groups: groupsWith(1), nowMs: 0 });
  expect(movedSlots({ groups: groupsWith(2), nowMs: 0 })).toHaveLength(2 * slotCount);
});
