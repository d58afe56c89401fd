import { expect, test } from 'vitest';
import { connectionLimit, capOf, pathsIn } from './settings.ts';

test.each([
  ['relative', 'var/lib/furiwake'],
  ['with a blank', '/var/lib/furi wake'],
  ['with a comma, which would end an argument of a converter', '/var/lib/a,b'],
  ['with a quote', '/var/lib/"'],
  ['with a line break', '/var/lib\nbackend x'],
  ['too long for the socket, whose temporary name is longer still', `/${'a'.repeat(86)}`],
])('a folder that is %s is refused', (_, folder) => {
  expect(() => pathsIn(folder)).toThrow(RangeError);
});

test('a folder of 85 characters is just short enough', () => {
  expect(pathsIn(`/${'a'.repeat(84)}`).masterSocket).toHaveLength(97);
});

test.each([
  [1024, 384],
  [4096, 1536],
  [20_000, 8900],
  [1_048_576, 500_000],
])('of %i descriptors there are %i connections, two each, and a reserve', (descriptors, connections) => {
  expect(connectionLimit(descriptors)).toBe(connections);
});

test('a Service without a cap may have half of all connections, and never none', () => {
  expect(capOf(8900)).toBe(4450);
  expect(capOf(1)).toBe(1);
});
