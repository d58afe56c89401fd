import { expect, test } from 'vitest';
import { directListener } from '../../../test/make/table.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { makeForwardingReport } from './forwarding-report.ts';
import type { SlotGroup } from './table/program.ts';

const [dns, ntp, web] = [53, 123, 80].map((port) => directListener('203.0.113.1', port).key) as [
  ListenerKey,
  ListenerKey,
  ListenerKey,
];
const group = (id: number): SlotGroup => ({ id, marks: [id], open: [id] });
const groupsOf = (...entries: readonly (readonly [ListenerKey, SlotGroup])[]): PersistentMap<ListenerKey, SlotGroup> =>
  PersistentMap.from(entries);

test('it names the listeners that have a node now or no longer have one, and no others', () => {
  const report = makeForwardingReport();
  const changes: (readonly ListenerKey[])[] = [];
  report.onForwarding((changed) => changes.push([...changed].sort()));
  const set = (groups: PersistentMap<ListenerKey, SlotGroup>, refused: readonly ListenerKey[] = []): void =>
    report.set({ groups, refusals: new Map(refused.map((key) => [key, 'refused'])) }, new Map(), new Set());
  set(groupsOf([dns, group(1)], [ntp, group(1)]));
  set(groupsOf([dns, group(2)], [ntp, group(1)])); // other slots
  set(groupsOf([ntp, group(1)], [web, group(1)]));
  set(groupsOf([ntp, group(1)]), [web]); // it stays as it was
  expect(changes).toEqual([[dns, ntp].sort(), [dns, web].sort()]);
  report.set({ groups: groupsOf([ntp, group(1)], [web, group(1)]), refusals: new Map() }, new Map(), new Set([4]));
  expect(changes).toHaveLength(3);
  expect(changes.at(-1)).toEqual([]); // only the links differ
});
