import { expect, test } from 'vitest';
import type { Bench } from './bench.ts';
import { formatFigures, jsonLine } from './report.ts';

const bench: Bench = { name: 'publish', title: 'one at a time', run: async () => [] };

test('columns are aligned, and a missed target is marked', () => {
  const text = formatFigures(
    bench,
    [
      { what: 'median', value: 24.13, unit: 'ms', target: { atMost: 30 } },
      { what: 'requests, furiwake to by hand', value: 0.894, unit: '×', target: { atLeast: 0.9 } },
      { what: 'requests', value: 61_234.5, unit: '1/s' },
    ],
    false,
  );
  expect(text).toBe(`
publish  one at a time
  median                           24.1 ms  ≤ 30   ✓
  requests, furiwake to by hand     0.89 ×  ≥ 0.9  ✗ not reached
  requests                       61235 1/s
`);
});

test('a count of nothing is 0', () => {
  const text = formatFigures(bench, [{ what: 'failed', value: 0, unit: '', target: { atMost: 0 } }], false);
  expect(text).toContain('failed  0  ≤ 0  ✓');
});

test('a JSON line contains the results', () => {
  const line = jsonLine(bench, [{ what: 'failed', value: 1, unit: '', target: { atMost: 0 } }]);
  expect(JSON.parse(line)).toMatchObject({ bench: 'publish', figures: [{ value: 1, isReached: false }] });
});
