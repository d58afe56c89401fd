import { expect, test } from 'vitest';
import { processAfter, processInSilence, type ProxyProcess, shownBy } from './kube-proxy-proof.ts';
import type { KubeProxyAnswer } from './kube-proxy-sync.ts';

/** The process after answers on one connection. */
function processOf(...answers: readonly Omit<KubeProxyAnswer, 'isHealthy' | 'isSameProcess'>[]): ProxyProcess {
  let process: ProxyProcess | undefined;
  for (const answer of answers) process = processAfter(process, { isHealthy: true, isSameProcess: true, ...answer });
  if (process === undefined) throw new Error('no answer');
  return process;
}

/** Whether it is shown to serve an IPv4 listener that was published at 10,000 ms. */
function isProven(process: ProxyProcess, upMs = Number.NEGATIVE_INFINITY): boolean {
  return shownBy(process, 4, upMs).untilMs >= 10_000;
}

test('a kube-proxy that reports syncs of IPv4 only never serves IPv6', () => {
  const ipv4Only = processOf({ sentMs: 0, syncs: {} }, { sentMs: 200_000, syncs: { 4: { id: 'a', endMs: 11_000 } } });
  expect(shownBy(ipv4Only, 4, 0)).toEqual({ hasRules: true, untilMs: 200_000 - 60_750, foundUntilMs: 195_000 });
  expect(shownBy(ipv4Only, 6, 0)).toEqual({ hasRules: false, untilMs: -Infinity, foundUntilMs: -Infinity });
});

test('the first estimate of a sync counts: the clock of the node may be set back later', () => {
  const setBack = processOf(
    { sentMs: 9_000, syncs: { 4: { id: 'a', endMs: 5_000 } } },
    { sentMs: 10_100, syncs: { 4: { id: 'b', endMs: 9_500 } } },
    { sentMs: 13_900, syncs: { 4: { id: 'b', endMs: 11_000 } } },
  );
  expect(isProven(setBack)).toBe(false);
});

test.each([
  ['at once if its process had been up for long', 11_000, true],
  ['later if its process may not have synced yet', 1_000, false],
])('a node that was silent opens %s', (_, upForMs, expected) => {
  const syncs = { 4: { id: 'a', endMs: 0 } };
  const silent = processInSilence(processOf({ sentMs: 20_000, syncs }), 20_000 + upForMs);
  const answer = { sentMs: 90_000, isHealthy: true, isSameProcess: true, syncs };
  expect(shownBy(processAfter(silent, answer), 4, 90_000).hasRules).toBe(expected);
});

test('a process that has just started proves nothing, however long ago the listener was published', () => {
  const answers = [100_000, 104_900, 105_000].map((sentMs) => ({ sentMs, syncs: { 4: { id: 'a', endMs: 99_900 } } }));
  expect(isProven(processOf(...answers.slice(0, 2)))).toBe(false);
  expect(isProven(processOf(...answers))).toBe(true);
});

test('a process without times of syncs proves nothing in its first three seconds', () => {
  const answers = [100_000, 102_900, 103_000].map((sentMs) => ({ sentMs, syncs: undefined }));
  expect(isProven(processOf(...answers.slice(0, 2)))).toBe(false);
  expect(isProven(processOf(...answers))).toBe(true);
});

test('a node that was silent is given time to receive what was published meanwhile', () => {
  const answers = [0, 94_900, 95_000].map((sentMs) => ({ sentMs, syncs: { 4: { id: 'a', endMs: 9_500 } } }));
  expect(isProven(processOf(...answers.slice(0, 2)), 90_000)).toBe(false);
  expect(isProven(processOf(...answers), 90_000)).toBe(true);
});

test.each([
  ['the second sync began a second after the first, late enough after the publication', 9_300, 10_800, true],
  ['the first sync ended so early that the second may have begun before the publication', 9_200, 10_800, false],
  ['the second sync may be the first of a process that has just started', 9_300, 10_700, false],
])('two syncs: %s', (_, firstMs, secondMs, expected) => {
  const process = processOf(
    { sentMs: 10_000, syncs: { 4: { id: 'a', endMs: firstMs } } },
    { sentMs: 10_900, syncs: { 4: { id: 'b', endMs: secondMs } } },
  );
  expect(isProven(process)).toBe(expected);
});

test.each([
  ['long before needs no sync since, and five seconds in which a change would have led to one', 14_900, 15_000],
  ['a moment before is not proven by a sync of then', 14_900, 15_000],
])('a listener that was published %s', (what, earlyMs, lateMs) => {
  const endMs = what.startsWith('long') ? -500_000 : 9_900;
  const answers = [0, earlyMs, lateMs].map((sentMs) => ({ sentMs, syncs: { 4: { id: 'a', endMs } } }));
  const shown = (...first: typeof answers): number => shownBy(processOf(...first), 4, -Infinity).foundUntilMs;
  expect(shown(...answers.slice(0, 2))).toBeLessThan(10_000);
  expect(shown(...answers)).toBe(10_000);
});
