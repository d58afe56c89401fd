import { expect, test } from 'vitest';
import { addressOf, directListener, tableOf } from '../../../test/make/table.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { Client } from '../../ports/host.ts';
import { makeStandIns } from './stand-ins.ts';

const web = directListener('203.0.113.1', 80, { protocol: 'TCP', standIn: 'haproxy' });
const dns = directListener('203.0.113.1', 53);
const { listeners } = tableOf([web, dns]);
const none = PersistentMap.empty<ListenerKey, object>();
const nodes = none.with([web, dns].map(({ key }) => [key, {}]));
const clients: readonly Client[] = [{ address: addressOf('198.51.100.2'), port: 51_234 }];

test('a listener shares its packets with its stand-in once a node is open, and with none if it has none', () => {
  const standIns = makeStandIns();
  standIns.follow(listeners, none);
  expect([standIns.has(web.key), standIns.entering(), standIns.shared().unsorted.size]).toEqual([false, [], 0]);
  standIns.follow(listeners, nodes);
  expect([standIns.entering(), [...standIns.shared().unsorted]]).toEqual([[web.key], [web.key]]);
});

test('its connections are known, end, and are unknown again while the listener leaves', () => {
  const standIns = makeStandIns();
  standIns.follow(listeners, nodes);
  standIns.sort([web.key], new Map([[web.key, clients]]));
  const shared = standIns.shared();
  expect([standIns.entering(), standIns.holding(), shared.unsorted.size]).toEqual([[], [web.key], 0]);
  expect(shared.held).toEqual(new Map([[web.key, clients]]));
  standIns.sort([web.key], new Map([[web.key, [...clients]]]));
  expect(standIns.shared()).toBe(shared);
  standIns.follow(listeners, none);
  expect([[...standIns.shared().unsorted], standIns.shared().held.size]).toEqual([[web.key], 0]);
  standIns.sort([web.key], new Map());
  expect(standIns.shared().unsorted.size).toBe(1);
  standIns.follow(listeners, nodes);
  standIns.sort(standIns.entering(), new Map());
  expect([standIns.holding(), standIns.shared().unsorted.size]).toEqual([[], 0]);
});

test('a listener that gets a stand-in has no flow there: those at its nodes stay, and it leaves as any other', () => {
  const standIns = makeStandIns();
  const alone = tableOf([{ ...web, standIn: undefined }]).listeners;
  standIns.follow(alone, nodes);
  expect([standIns.has(web.key), standIns.entering(), standIns.shared().unsorted.size]).toEqual([true, [], 0]);
  standIns.follow(listeners, nodes);
  expect([standIns.entering(), standIns.holding(), standIns.shared().unsorted.size]).toEqual([[], [], 0]);
  standIns.follow(alone, none);
  expect(standIns.shared().unsorted.size).toBe(0); // its packets are dropped: there is nothing else
  standIns.follow(listeners, none);
  expect([...standIns.shared().unsorted]).toEqual([web.key]);
});

test('the next Service on the address inherits nothing', () => {
  const standIns = makeStandIns();
  standIns.follow(listeners, nodes);
  const other = { ...web, service: 'test/other' as typeof web.service };
  standIns.follow(tableOf([other]).listeners, none);
  expect([standIns.has(web.key), standIns.shared().unsorted.size]).toEqual([false, 0]);
});
