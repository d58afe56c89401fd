import { expect, test } from 'vitest';
import { formatRow, formatTotals } from './report.ts';
import type { Result } from './results.ts';

const plain = (_: number, text: string): string => text;
const passed: Result = { name: '[sig-network] A [Slow]', verdict: 'passed', seconds: 61, why: '', furiwake: 'f1' };
const skipped: Result = { ...passed, name: 'B', verdict: 'skipped', seconds: 4, why: 'it has one node' };

test('a case has a line, and a second one with the reason if it has not passed', () => {
  expect(formatRow(passed, plain, false)).toBe('passed        61  A\n');
  expect(formatRow(passed, plain, true)).toBe('passed        61  A (in an earlier run)\n');
  expect(formatRow(skipped, plain, false)).toBe('skipped        4  B\n                  it has one node\n');
});

test('the total counts every chosen case, also those that were not run', () => {
  expect(formatTotals([passed, skipped], 3)).toBe('3 cases: 1 passed, 0 failed, 1 skipped, 1 not run; 1:05 min.\n');
  expect(formatTotals([passed], 1)).toBe('1 case: 1 passed, 0 failed, 0 skipped; 1:01 min.\n');
});

test('results of several builds do not count as a complete run', () => {
  expect(formatTotals([passed, { ...passed, furiwake: 'f2' }], 2)).toContain('2 builds of furiwake');
});
