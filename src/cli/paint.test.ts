import { expect, test } from 'vitest';
import { hasColour, makePaint } from './paint.ts';

test.each([
  [{ isTTY: true }, undefined, true],
  [{ isTTY: true }, '', true],
  [{ isTTY: true }, '1', false],
  [{ isTTY: true }, '0', false],
  [{ isTTY: false }, undefined, false],
  [{}, undefined, false],
])('a stream %j with NO_COLOR %j has colour: %s', (stream, noColor, expected) => {
  expect(hasColour(stream, noColor)).toBe(expected);
});

test('without colour a text stays as it is', () => {
  expect(makePaint(false)('up', 'good')).toBe('up');
  expect(makePaint(true)('up', 'good')).toBe('\u001B[32mup\u001B[39m');
  expect(makePaint(true)('up', 'plain')).toBe('up');
});
