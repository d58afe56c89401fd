import { expect, test } from 'vitest';
import * as z from 'zod';
import { decodedAnswer, jsonAnswer } from './exec.ts';

test('an answer that is not JSON, or of another form, is an error with words of its own', () => {
  expect(jsonAnswer('ip', '[1]')).toEqual([1]);
  expect(() => jsonAnswer('ip', 'Object "x" is unknown')).toThrow('ip: the answer is not JSON');
  expect(decodedAnswer('ip', z.array(z.number()), [1])).toEqual([1]);
  expect(() => decodedAnswer('ip', z.array(z.number()), ['x'])).toThrow(
    'ip: the answer has another form than expected',
  );
});
