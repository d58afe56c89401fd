import { expect, test } from 'vitest';
import { makeRepeats } from './repeats.ts';

test('an equal value is the one of before', () => {
  const once = makeRepeats();
  const ports = once([{ port: 80, protocol: 'TCP' }]);
  expect(once([{ port: 80, protocol: 'TCP' }])).toBe(ports);
  expect(once([{ port: 81, protocol: 'TCP' }])).toEqual([{ port: 81, protocol: 'TCP' }]);
});

test('values that do not repeat are forgotten', () => {
  const once = makeRepeats();
  const [first] = Array.from({ length: 5_000 }, (_, port) => once([port]));
  expect(once([0])).not.toBe(first);
});
