import { expect, test } from 'vitest';
import { isNewer } from './resource-version.ts';

test.each([
  ['10', '9', true],
  ['9', '10', false],
  ['7', '7', false],
  // Beyond 2^53, where adjacent integers are equal as numbers.
  ['9007199254740993', '9007199254740992', true],
  ['340282366920938463463374607431768211455', '340282366920938463463374607431768211454', true],
  // Not well-formed: the order is unknown.
  ['rv2', 'rv1', false],
  ['5', '', false],
  ['05', '4', false],
  ['5', '0', false],
  ['5.5', '4', false],
])('%s is newer than %s: %s', (a, b, expected) => {
  expect(isNewer(a, b)).toBe(expected);
});
