import { expect, test } from 'vitest';
import { listener, table } from '../../test/make/agent-rig.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { type Gap, unprogrammed } from './host-state.ts';
import { makeQuarantine } from './quarantine.ts';

const odd = listener('192.0.2.51', 80, 'odd');
const { listeners } = table(odd);

test('a refused listener that then depends on a failed step is part of the next pass, and causes none itself', () => {
  const quarantine = makeQuarantine({ log: recordLog(), clock: { monotonic: () => 0 } });
  const isPostponed = (nowMs: number): boolean => quarantine.postponed(listeners, nowMs).has(odd.key);
  const note = (is: Gap['is'] | undefined, nowMs: number): void =>
    quarantine.note(
      {
        tried: listeners,
        postponed: new Set(),
        refused: new Map(is === 'refused' ? [[odd.key, 'no']] : []),
        state: { open: new Map(is && [[odd.key, { ...unprogrammed(odd, odd), gap: { is, words: 'no' } }]]) },
      },
      nowMs,
    );
  note('refused', 0);
  expect([quarantine.nextDueMs(), isPostponed(999), isPostponed(1_000)]).toEqual([1_000, true, false]);
  note('blocked', 1_000);
  expect([quarantine.nextDueMs(), isPostponed(1_000)]).toEqual([Infinity, false]);
  note('refused', 5_000);
  expect(quarantine.nextDueMs()).toBe(7_000);
  note(undefined, 7_000);
  expect([quarantine.nextDueMs(), quarantine.size()]).toEqual([Infinity, 0]);
});
