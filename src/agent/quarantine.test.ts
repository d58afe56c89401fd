import { expect, test } from 'vitest';
import { listener, table } from '../../test/make/agent-rig.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { makeQuarantine } from './quarantine.ts';

const odd = listener('192.0.2.51', 80, 'odd');
const tried = table(odd);
const no = new Map([[odd.key, 'no']]);
const none: typeof no = new Map();
const waiting = new Set<typeof odd.key>();

test('a refused listener that then depends on a failed step is part of the next pass, and causes none itself', () => {
  const quarantine = makeQuarantine({ log: recordLog(), monotonic: () => 0 });
  const isLeftOut = (nowMs: number): boolean =>
    !quarantine.leaveOut(tried, PersistentMap.empty(), nowMs).listeners.has(odd.key);
  quarantine.note(tried, { refused: no, waiting, blocked: none }, 0);
  expect([quarantine.nextDueMs(), isLeftOut(999), isLeftOut(1_000)]).toEqual([1_000, true, false]);
  quarantine.note(tried, { refused: none, waiting, blocked: no }, 1_000);
  expect([quarantine.nextDueMs(), isLeftOut(1_000)]).toEqual([undefined, false]);
  quarantine.note(tried, { refused: no, waiting, blocked: none }, 5_000);
  expect(quarantine.nextDueMs()).toBe(7_000);
  quarantine.note(tried, { refused: none, waiting, blocked: none }, 7_000);
  expect([quarantine.nextDueMs(), quarantine.entries.size]).toEqual([undefined, 0]);
});
