import { expect, test } from 'vitest';
import { conditionTypes } from '../core/model/contract.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { Condition } from '../core/model/service.ts';
import type { Gaps } from '../core/traffic/without-endpoints.ts';
import { endpointGraceMs, judgeEndpoints, judgeGaps, judgeListeners } from './endpoint-grace.ts';

function serving(status: Condition['status'], reason: string): readonly Condition[] {
  return [{ type: conditionTypes.serving, status, reason, message: '', lastTransitionTime: '2026-01-01T00:00:00Z' }];
}
const isServing = serving('True', 'Serving');
const isEmpty = serving('False', 'NoEndpoints');

test('a Service without ready endpoints says so after five seconds', () => {
  const first = judgeEndpoints(0, [], undefined, 500);
  expect(first).toEqual({ hasEndpoints: undefined, sinceMs: 500, later: { requeueAfterMs: endpointGraceMs } });
  expect(judgeEndpoints(0, [], 500, 5_499)).toMatchObject({ hasEndpoints: undefined, later: { requeueAfterMs: 1 } });
  expect(judgeEndpoints(0, [], 500, 5_500)).toEqual({ hasEndpoints: false, sinceMs: 500, later: undefined });
});

test('one that has a ready endpoint again starts afresh', () => {
  expect(judgeEndpoints(1, isEmpty, 500, 9_000)).toEqual({ hasEndpoints: true, sinceMs: undefined, later: undefined });
});

test.each<[what: string, conditions: readonly Condition[], hasEndpoints: boolean | undefined]>([
  ['serves', isServing, true],
  ['has none', isEmpty, false],
  ['says neither', [], undefined],
])('while the number is not known, a status that %s stays', (_, conditions, hasEndpoints) => {
  const answer = judgeEndpoints(undefined, conditions, 500, 9_000);
  expect(answer).toEqual({ hasEndpoints, sinceMs: 500, later: { requeueAfterMs: endpointGraceMs } });
});

test('a status that says it has none waits no longer: it is so after a restart as before', () => {
  expect(judgeEndpoints(0, isEmpty, undefined, 500)).toEqual({ hasEndpoints: false, sinceMs: 500, later: undefined });
});

test('ports without endpoints beside others are said after five seconds, and at once after a restart', () => {
  const first = judgeGaps(true, isServing, undefined, 500);
  expect(first).toEqual({ areShown: false, sinceMs: 500, later: { requeueAfterMs: endpointGraceMs } });
  expect(judgeGaps(true, isServing, 500, 5_500)).toEqual({ areShown: true, sinceMs: 500, later: undefined });
  expect(judgeGaps(false, isServing, 500, 5_500)).toEqual({ areShown: false, sinceMs: undefined, later: undefined });
  const isPartly = serving('True', 'PartlyServing');
  expect(judgeGaps(true, isPartly, undefined, 500)).toEqual({ areShown: true, sinceMs: 500, later: undefined });
});

test('one that loses all its endpoints says so once, after five seconds, and calls no port one without beside others', () => {
  const all: Gaps = { listeners: ['192.0.2.51|80|TCP' as ListenerKey], areAll: true };
  const first = judgeListeners(0, all, isServing, undefined, 500);
  expect(first).toMatchObject({ hasEndpoints: true, gaps: [], later: { requeueAfterMs: endpointGraceMs } });
  const last = judgeListeners(0, all, isServing, first.lacking, 5_500);
  expect(last).toMatchObject({ hasEndpoints: false, gaps: all.listeners, later: undefined });
  const isPartly = serving('True', 'PartlyServing');
  expect(judgeListeners(0, all, isPartly, undefined, 500)).toMatchObject({ gaps: all.listeners });
});

test('one that had none for long and gets those of its ports one after another is not called partly served between them', () => {
  const all: Gaps = { listeners: ['a|80|TCP' as ListenerKey, 'a|443|TCP' as ListenerKey], areAll: true };
  const part: Gaps = { listeners: all.listeners.slice(1), areAll: false };
  const none = serving('False', 'NoEndpoints');
  const first = judgeListeners(0, all, [], undefined, 500);
  const empty = judgeListeners(0, all, none, judgeListeners(0, all, [], first.lacking, 5_500).lacking, 60_000);
  expect(empty).toMatchObject({ hasEndpoints: false, gaps: all.listeners, later: undefined });
  const half = judgeListeners(1, part, none, empty.lacking, 61_000);
  expect(half).toMatchObject({ hasEndpoints: true, gaps: [], later: { requeueAfterMs: endpointGraceMs } });
  expect(judgeListeners(1, part, isServing, half.lacking, 66_000).gaps).toEqual(part.listeners);
});
