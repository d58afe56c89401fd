import { expect, test } from 'vitest';
import { withOptions } from '../../test/make/options.ts';
import { listener, localListener, tableOf } from '../../test/make/table.ts';
import type { ServiceKey, ServiceUid } from '../core/model/names.ts';
import type { Listener } from '../core/traffic/table.ts';
import {
  inherit,
  isInForceAs,
  isWithoutStandIn,
  listenersHandedOver,
  listenersToChange,
  needsProxy,
  withListeners,
  withoutStandIn,
} from './listener-changes.ts';

const web = listener('192.0.2.51', 80, 30_080);
const limited = withOptions('192.0.2.51', 80, 30_080, { limits: { rate: 10 } });
const faster = withOptions('192.0.2.51', 80, 30_080, { limits: { rate: 20 } });

test.each([
  ['nothing is in force', undefined, web, true],
  ['it is in force', web, web, false],
  ['its source ranges change', web, listener('192.0.2.51', 80, 30_080, { sourceRanges: [] }), false],
  ['its nodePort changes', web, listener('192.0.2.51', 80, 30_081), true],
  ['its options change', limited, faster, true],
  ['it is drained', web, listener('192.0.2.51', 80, 30_080, { isDraining: true }), false],
  ['its backend changes', web, localListener('192.0.2.51', 80, 30_080), true],
  ['it comes from nat', listener('192.0.2.51', 80, 30_080, { dataplane: 'nat' }), web, true],
  ['it goes to nat', web, listener('192.0.2.51', 80, 30_080, { dataplane: 'nat' }), false],
] as const)(
  'a listener waits for HAProxy, or not, if %s',
  (_, inForce: Listener | undefined, next: Listener, expected) => {
    expect(needsProxy(tableOf(inForce === undefined ? [] : [inForce]).listeners, next)).toBe(expected);
  },
);

test('a listener of direct without its stand-in is in force, waits for HAProxy to have one, and stays the same object until then', () => {
  const direct = listener('192.0.2.51', 80, 30_080, { dataplane: 'direct', standIn: 'haproxy' });
  const plain = listener('192.0.2.51', 80, 30_080);
  for (const [old, standIn] of [
    [undefined, undefined],
    [listener('192.0.2.51', 80, 30_080, { dataplane: 'nat' }), undefined],
    [plain, 'haproxy'], // as HAProxy serves it now
  ] as const) {
    const alone = withoutStandIn(direct, old);
    expect(alone).toEqual({ ...direct, standIn, revision: alone.revision });
    expect([isInForceAs(direct, alone), isInForceAs(plain, alone), isWithoutStandIn(alone)]).toEqual([
      true,
      false,
      true,
    ]);
    expect(needsProxy(tableOf([alone]).listeners, direct)).toBe(true);
    expect(withoutStandIn(direct, alone)).toBe(alone);
  }
  expect(isWithoutStandIn(direct)).toBe(false);
});

test('a listener that is equal to the one in force is not changed, and one that is replaced by itself leaves the table as it was', () => {
  const table = tableOf([web, limited]);
  const same = tableOf([{ ...web }, faster]);
  expect(listenersToChange(table.listeners, same.listeners)).toEqual([faster]);
  expect(withListeners(table, [[limited.key, limited]])).toBe(table);
});

test.each([
  ['of another object with the same name', web.service, 'uid-2', true],
  ['of the same object', web.service, web.uid, false],
  ['of a record without UIDs', web.service, web.service, false],
  ['of a record without UIDs, of another name', 'test/other', 'test/other', true],
])('a listener %s is handed over, or not, and is inherited otherwise', (_, service, uid, isHandedOver) => {
  const fields = { service: service as ServiceKey, uid: uid as ServiceUid };
  const held = tableOf([listener('192.0.2.51', 80, 30_080, fields)]).listeners;
  const target = tableOf([web]).listeners;
  expect(listenersHandedOver(held, target)).toEqual(isHandedOver ? [web.key] : []);
  expect(inherit(held, target).size).toBe(isHandedOver ? 0 : 1);
});
