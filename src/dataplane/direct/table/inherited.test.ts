import { expect, test } from 'vitest';
import { directListener, listener, node, tableOf } from '../../../../test/make/table.ts';
import type { ListenerKey, NodeName, ServiceUid } from '../../../core/model/names.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import { type Listener, type TrafficTable, withdrawnRanges } from '../../../core/traffic/table.ts';
import { closed } from '../../../agent/withdrawn.ts';
import { makeInherited, movedMeanwhile } from './inherited.ts';

const vip = '203.0.113.1';
const web = listener(vip, 80, 30_080, { dataplane: 'direct', standIn: 'haproxy' });
const dns = listener(vip, 53, 30_053, { protocol: 'UDP', dataplane: 'direct', standIn: 'nat' });
const alone = directListener(vip, 443, { protocol: 'TCP' });
const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
const all = tableOf([web, dns, alone], nodes);

/** What remains of groups in which `open` nodes are, and what is inherited. */
function makeScene(): (state: { open: number; nowMs: number; table?: TrafficTable; barred?: string }) => {
  readonly groups: number;
  readonly inherited: readonly ListenerKey[];
  readonly untilMs: number;
} {
  const inherited = makeInherited();
  inherited.begin(all.listeners.values(), 1_000);
  return ({ open, nowMs, table = all, barred }) => {
    const group = { id: 7, marks: [1], open: Array.from({ length: open }, (_, index) => index) };
    const keys = open === 0 ? [] : [...table.listeners.keys()];
    const groups = PersistentMap.from(keys.map((key) => [key, group] as const));
    const mayOpen = (name: NodeName): boolean => name !== barred;
    const settled = inherited.settle({ table, groups, mayOpen, nowMs });
    return { ...settled, groups: settled.groups.size, inherited: [...settled.inherited] };
  };
}

test('no listener gets a part of its nodes; those of TCP with a stand-in are inherited meanwhile', () => {
  const settle = makeScene();
  const waiting = { groups: 0, inherited: [web.key], untilMs: 9_000 };
  expect(settle({ open: 0, nowMs: 1_000 })).toEqual(waiting);
  expect(settle({ open: 1, nowMs: 8_999 })).toEqual(waiting);
  const over = { groups: 3, inherited: [], untilMs: Infinity };
  expect(settle({ open: 2, nowMs: 8_999 })).toEqual(over);
  expect(settle({ open: 1, nowMs: 8_999 })).toEqual(over); // once
});

test('after eight seconds, or if no other node may open, they get the nodes that there are', () => {
  expect(makeScene()({ open: 1, nowMs: 9_000 })).toEqual({ groups: 3, inherited: [], untilMs: Infinity });
  expect(makeScene()({ open: 1, nowMs: 1_000, barred: 'n2' }).groups).toBe(3);
});

test('a listener that no node serves after eight seconds gets the first one at once; until the kernel has ended the state, it is inherited', () => {
  const settle = makeScene();
  const [waiting, over] = [
    { groups: 0, inherited: [web.key] },
    { groups: 3, inherited: [], untilMs: Infinity },
  ];
  expect(settle({ open: 0, nowMs: 1_000 })).toEqual({ ...waiting, untilMs: 9_000 });
  expect(settle({ open: 0, nowMs: 9_000 })).toEqual({ ...waiting, untilMs: 13_000 });
  expect(settle({ open: 1, nowMs: 10_000 })).toEqual(over);
  const none = makeScene();
  expect(none({ open: 0, nowMs: 1_000 }).inherited).toEqual([web.key]);
  expect(none({ open: 0, nowMs: 12_999 }).inherited).toEqual([web.key]);
  expect(none({ open: 0, nowMs: 13_000 })).toEqual({ groups: 0, inherited: [], untilMs: Infinity });
});

test('while no node may open, a listener is not inherited, unless it was before', () => {
  const nobody = tableOf([web], []);
  const settle = makeScene();
  expect(makeScene()({ open: 0, nowMs: 1_000, table: nobody }).inherited).toEqual([]);
  expect(settle({ open: 0, nowMs: 1_000 }).inherited).toEqual([web.key]);
  expect(settle({ open: 0, nowMs: 2_000, table: nobody }).inherited).toEqual([web.key]);
});

test('a listener of another Service, or of another dataplane, is not inherited', () => {
  for (const other of [{ ...web, uid: 'other' as ServiceUid }, listener(vip, 80, 30_080)])
    expect(makeScene()({ open: 1, nowMs: 1_000, table: tableOf([other], nodes) })).toEqual({
      groups: 1,
      inherited: [],
      untilMs: Infinity,
    });
});

test('a Service that is published when the host meets it is inherited, and a new one is not', () => {
  const inherited = makeInherited();
  const published = { ...web, isPublished: true };
  const follow = (before: readonly Listener[], after: readonly Listener[]): readonly ListenerKey[] => [
    ...inherited.follow(tableOf(before, nodes).listeners, tableOf(after, nodes).listeners, 1_000),
  ];
  const other = { ...alone, uid: 'other' as ServiceUid };
  expect(follow([other], [other, published])).toEqual([web.key]);
  expect(follow([other], [other, web])).toEqual([]);
  expect(follow([web], [published])).toEqual([]);
  const settled = inherited.settle({ table: all, groups: PersistentMap.empty(), mayOpen: () => true, nowMs: 1_000 });
  expect([...settled.inherited]).toEqual([web.key]);
});

test('on a host that was withdrawn other ports are inherited as well, and those that follow in the same pass', () => {
  const more = { dataplane: 'direct', isPublished: true } as const;
  const [had, port, other] = [80, 81, 82].map((each) => listener(vip, each, each, more)) as [
    Listener,
    Listener,
    Listener,
  ];
  const follow = (...tables: readonly (readonly Listener[])[]): readonly (readonly ListenerKey[])[] => {
    const inherited = makeInherited();
    const listeners = tables.map((each) => tableOf(each, nodes).listeners);
    return listeners.slice(1).map((after, index) => [...inherited.follow(listeners[index]!, after, 1_000)]);
  };
  const ofHost = { isHostAddress: true };
  expect(follow([closed(had)], [had, port], [had, port, other])).toEqual([[port.key], [other.key]]);
  expect(follow([had], [had, port])).toEqual([[]]); // a new port
  expect(follow([{ ...had, ...ofHost }], [had, { ...port, ...ofHost }])).toEqual([[]]);
});

test('a Service that has moved to direct while the host was withdrawn may have connections at nodes; one that moves later has not', () => {
  const moved = (was: Partial<Listener>, more: Partial<Listener> = {}): readonly ListenerKey[] => {
    const [before, after] = [listener(vip, 80, 30_080, was), { ...web, isPublished: true, ...more }];
    return [...movedMeanwhile(tableOf([before], nodes).listeners, tableOf([after], nodes).listeners).keys()];
  };
  expect(moved({ sourceRanges: withdrawnRanges })).toEqual([web.key]);
  expect(moved({ sourceRanges: withdrawnRanges, dataplane: 'nat' })).toEqual([web.key]);
  expect(moved({ sourceRanges: [] })).toEqual([]);
  expect(moved({ sourceRanges: withdrawnRanges, uid: 'other' as ServiceUid })).toEqual([]);
  expect(moved({ sourceRanges: withdrawnRanges }, { isPublished: false })).toEqual([]);
  expect(moved({ sourceRanges: withdrawnRanges }, { dataplane: 'haproxy', standIn: undefined })).toEqual([]);
});
