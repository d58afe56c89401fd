import { expect, test } from 'vitest';
import { addressOf, directListener, tableOf } from '../../../test/make/table.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { Listener } from '../../core/traffic/table.ts';
import type { Client } from '../../ports/host.ts';
import { makeStandIns } from './stand-ins.ts';

const web = directListener('203.0.113.1', 80, { protocol: 'TCP', standIn: 'haproxy' });
const dns = directListener('203.0.113.1', 53);
const { listeners } = tableOf([web, dns]);
const none = PersistentMap.empty<ListenerKey, object>();
const openOf = (...some: readonly Listener[]): typeof none => none.with(some.map(({ key }) => [key, {}]));
const nodes = openOf(web, dns);
const allServed: ReadonlySet<ListenerKey> = new Set();
const clients: readonly Client[] = [{ address: addressOf('198.51.100.2'), port: 51_234 }];

test('a listener shares its packets with its stand-in once a node is open, and with none if it has none', () => {
  const standIns = makeStandIns();
  standIns.follow(listeners, none, allServed);
  expect([standIns.has(web), standIns.entering(), standIns.shared().unsorted.size]).toEqual([false, [], 0]);
  standIns.follow(listeners, nodes, allServed);
  expect([standIns.entering(), [...standIns.shared().unsorted.keys()]]).toEqual([[web.key], [web.key]]);
});

test('its connections are known, end, and are as last known while the listener leaves', () => {
  const standIns = makeStandIns();
  standIns.follow(listeners, nodes, allServed);
  standIns.sort([web.key], new Map([[web.key, clients]]));
  const shared = standIns.shared();
  expect([standIns.entering(), standIns.holding(), shared.unsorted.size]).toEqual([[], [web.key], 0]);
  expect([...shared.held]).toEqual([[web.key, clients]]);
  standIns.sort([web.key], new Map([[web.key, [...clients]]]));
  expect(standIns.shared()).toBe(shared);
  standIns.follow(listeners, none, allServed);
  expect([[...standIns.shared().unsorted.keys()], standIns.shared().held]).toEqual([[web.key], shared.held]);
  standIns.sort([web.key], new Map());
  expect(standIns.shared().unsorted.size).toBe(1);
  standIns.follow(listeners, nodes, allServed);
  standIns.sort(standIns.entering(), new Map());
  expect([standIns.holding(), standIns.shared().unsorted.size]).toEqual([[], 0]);
});

test('a listener that gets a stand-in has no flow there: those at its nodes stay, and it leaves like any other', () => {
  const standIns = makeStandIns();
  const alone = tableOf([{ ...web, standIn: undefined }]).listeners;
  standIns.follow(alone, nodes, allServed);
  expect([standIns.has(web), standIns.entering(), standIns.shared().unsorted.size]).toEqual([true, [], 0]);
  standIns.follow(listeners, nodes, allServed);
  expect([standIns.entering(), standIns.holding(), standIns.shared().unsorted.size]).toEqual([[], [], 0]);
  standIns.follow(alone, none, allServed);
  expect(standIns.shared().unsorted.size).toBe(0); // its packets are dropped: there is nothing else
  standIns.follow(listeners, none, allServed);
  expect([...standIns.shared().unsorted.keys()]).toEqual([web.key]);
});

test('the next Service on the address inherits nothing', () => {
  const standIns = makeStandIns();
  standIns.follow(listeners, nodes, allServed);
  const other = { ...web, uid: 'other' as typeof web.uid };
  standIns.follow(tableOf([other]).listeners, none, allServed);
  expect([standIns.has(web), standIns.shared().unsorted.size]).toEqual([false, 0]);
});

test('a listener without a stand-in leaves new flows to the stack while it has no server', () => {
  const standIns = makeStandIns();
  standIns.follow(listeners, openOf(web), new Set([dns.key]));
  standIns.sort(standIns.entering(), new Map());
  const shared = standIns.shared();
  expect([standIns.has(dns), [...shared.unsorted.keys()]]).toEqual([true, [dns.key]]);
  standIns.follow(listeners, openOf(web), new Set([dns.key]));
  expect(standIns.shared()).toBe(shared);
  standIns.follow(listeners, nodes, allServed);
  expect([standIns.shared().unsorted.size, standIns.entering()]).toEqual([0, []]);
});

test('a listener that an earlier process sent to nodes leaves, or enters again where a node is open', () => {
  const standIns = makeStandIns();
  const mail = { ...web, key: '203.0.113.1|25|TCP' as typeof web.key };
  standIns.resume([web, mail]);
  standIns.follow(tableOf([web, mail]).listeners, openOf(mail), allServed);
  expect([standIns.has(web), standIns.has({ ...web, uid: 'other' as typeof web.uid })]).toEqual([true, false]);
  expect([[...standIns.shared().unsorted.keys()].length, standIns.entering()]).toEqual([2, [mail.key]]);
});
