import { expect, test } from 'vitest';
import { withOptions } from '../../test/make/options.ts';
import { listener, localListener, tableOf } from '../../test/make/table.ts';
import type { Listener } from '../core/traffic/table.ts';
import type { ListenerState } from './host-state.ts';
import { isInForceAs, needsProxy, withListeners, withoutStandIn } from './listener-changes.ts';

const inForce = (held: Listener, more: Partial<ListenerState> = {}): ListenerState => ({
  wanted: held,
  held,
  inForce: 'yes',
  lacksProxy: false,
  gap: undefined,
  ...more,
});
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
] as const)('a listener waits for HAProxy, or not, if %s', (_, old: Listener | undefined, next: Listener, expected) => {
  expect(needsProxy(old && inForce(old), next)).toBe(expected);
});

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
    const state = inForce(alone, { lacksProxy: true });
    expect([isInForceAs(direct, state), isInForceAs(plain, state), needsProxy(state, direct)]).toEqual([
      true,
      false,
      true,
    ]);
    expect(withoutStandIn(direct, alone)).toBe(alone);
  }
});

test.each<[string, Partial<ListenerState>]>([
  ['that HAProxy has not acknowledged', { lacksProxy: true }],
  ['that may have been changed in part', { inForce: 'perhaps' }],
  ['that is not programmed', { inForce: 'no' }],
])('a listener %s is not in force', (_, state) => {
  expect([isInForceAs(web, inForce(web)), isInForceAs(web, inForce(web, state))]).toEqual([true, false]);
});

test('a listener that is replaced by itself leaves the table as it was', () => {
  const table = tableOf([web, limited]);
  expect(withListeners(table, [[limited.key, limited]])).toBe(table);
});
