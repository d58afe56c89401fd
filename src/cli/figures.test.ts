import { expect, test } from 'vitest';
import { formatDuration, formatFigure, formatTime } from './figures.ts';

test.each([
  [5, '5s'],
  [119, '119s'],
  [125, '2m5s'],
  [3_600, '60m'],
  [10_800, '3h'],
  [11_000, '3h3m'],
  [86_400, '24h'],
  [176_400, '2d1h'],
  [8_640_000, '100d'],
])('%i seconds are %s', (seconds, text) => {
  expect(formatDuration(seconds)).toBe(text);
});

test.each([
  [0, '0'],
  [0.25, '0.3'],
  [9.96, '10'],
  [980.4, '980'],
  [999.6, '1k'],
  [1_234, '1.2k'],
  [88_000_000, '88M'],
  [2 ** 63, '9223P'],
])('the figure %d is %s', (value, text) => {
  expect(formatFigure(value)).toBe(text);
});

test('a time of another day has its date, in the time zone of the reader', () => {
  const at = '2026-11-27T08:33:37Z';
  expect(formatTime('2026-11-27T00:00:00Z', at, 'UTC')).toBe('00:00:00');
  expect(formatTime('2026-11-26T23:59:59Z', at, 'UTC')).toBe('2026-11-26 23:59:59');
  expect(formatTime('2026-11-26T23:59:59Z', at, 'Asia/Tokyo')).toBe('08:59:59');
});
