import { expect, test } from 'vitest';
import { table } from './status.ts';

test('columns of a table are as wide as their widest cell', () => {
  expect(
    table([
      ['lb1', '192.0.2.51'],
      ['lanclient', ''],
    ]),
  ).toBe('lb1        192.0.2.51\nlanclient');
});
