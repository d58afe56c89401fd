import { expect, test } from 'vitest';
import { listener, tableOf } from '../../test/make/table.ts';
import type { ServiceKey, ServiceUid } from '../core/model/names.ts';
import {
  emptyHostState,
  heldFromBefore,
  type HostState,
  inForceOf,
  isCertain,
  listenersGone,
  listenersHandedOver,
  listenersToChange,
  stateOf,
} from './host-state.ts';

const web = listener('192.0.2.51', 80, 30_080);
const dns = listener('192.0.2.51', 53, 30_053);
const { listeners } = tableOf([web]);
const settled: HostState = { ...emptyHostState, settled: listeners };
const open: HostState = heldFromBefore(listeners);

test('a settled listener is in force as wanted; of one from an earlier process nothing is certain', () => {
  const [known, unknown] = [stateOf(settled, web.key)!, stateOf(open, web.key)!];
  expect([known.wanted, inForceOf(known), isCertain(known)]).toEqual([web, web, true]);
  expect([unknown.held, inForceOf(unknown), isCertain(unknown)]).toEqual([web, undefined, false]);
  expect(stateOf(settled, dns.key)).toBeUndefined();
});

test('a listener that is equal to the settled one is not changed; one that is open is; one that is not wanted is gone', () => {
  const same = tableOf([{ ...web }, dns]).listeners;
  expect(listenersToChange(settled, same)).toEqual([dns]);
  expect(listenersToChange(open, same)).toEqual([web, dns]);
  for (const host of [settled, open])
    expect([listenersGone(host, same), listenersGone(host, tableOf([dns]).listeners)]).toEqual([[], [web]]);
});

test.each([
  ['of another object with the same name', web.service, 'uid-2', true],
  ['of the same object', web.service, web.uid, false],
  ['of a record without UIDs', web.service, web.service, false],
  ['of a record without UIDs, of another name', 'test/other', 'test/other', true],
])('a listener %s is handed over, or not', (_, service, uid, isHandedOver) => {
  const fields = { service: service as ServiceKey, uid: uid as ServiceUid };
  const former = tableOf([listener('192.0.2.51', 80, 30_080, fields)]).listeners;
  for (const host of [{ ...settled, settled: former }, heldFromBefore(former)])
    expect(listenersHandedOver(host, listeners)).toEqual(isHandedOver ? [web.key] : []);
});
