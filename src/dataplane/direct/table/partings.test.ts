import { expect, test } from 'vitest';
import { directListener, tableOf } from '../../../../test/make/table.ts';
import type { ListenerKey, ServiceUid } from '../../../core/model/names.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import { makePartings } from './partings.ts';
import type { SlotGroup } from './program.ts';

const [web, dns] = [
  directListener('203.0.113.1', 80, { protocol: 'TCP' }),
  directListener('203.0.113.1', 53, { protocol: 'UDP' }),
];
const { listeners } = tableOf([web, dns], []);
const group: SlotGroup = { id: 7, marks: [1], open: [1] };
const [open, closed] = [
  PersistentMap.from<ListenerKey, SlotGroup>([web, dns].map(({ key }) => [key, group])),
  PersistentMap.empty<ListenerKey, SlotGroup>(),
];

test('a listener that has lost its nodes keeps them for four seconds', () => {
  const partings = makePartings();
  expect(partings.parting({ listeners, groups: open, entering: [], nowMs: 0 })).toEqual({
    groups: new Map(),
    untilMs: Infinity,
  });
  const parting = { groups: new Map([web, dns].map(({ key }) => [key, group])), untilMs: 5_000 };
  expect(partings.parting({ listeners, groups: closed, entering: [], nowMs: 1_000 })).toEqual(parting);
  expect(partings.parting({ listeners, groups: closed, entering: [], nowMs: 4_999 })).toEqual(parting);
  expect(partings.parting({ listeners, groups: closed, entering: [], nowMs: 5_000 }).groups.size).toBe(0);
});

test('it no longer parts from them when it has nodes again, is gone, or is of another Service', () => {
  const other = tableOf([{ ...web, uid: 'other' as ServiceUid }], []).listeners;
  const nothing = tableOf([], []).listeners;
  for (const next of [
    { listeners, groups: open },
    { listeners: nothing, groups: closed },
    { listeners: other, groups: closed },
  ]) {
    const partings = makePartings();
    partings.parting({ listeners, groups: open, entering: [], nowMs: 0 });
    expect(partings.parting({ listeners, groups: closed, entering: [], nowMs: 0 }).groups.size).toBe(2);
    expect(partings.parting({ ...next, entering: [], nowMs: 1 }).groups.size).toBe(0);
  }
});

test('one whose flows at the stand-in are not known does not part from them', () => {
  const partings = makePartings();
  partings.parting({ listeners, groups: open, entering: [], nowMs: 0 });
  const { groups } = partings.parting({ listeners, groups: closed, entering: [web.key], nowMs: 0 });
  expect([...groups.keys()]).toEqual([dns.key]);
});
