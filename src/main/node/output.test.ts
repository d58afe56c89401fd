import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { tolerateErrors } from './output.ts';

test.each([
  ['ENOSPC', ['ENOSPC']],
  ['EPIPE', []],
])('an output that fails with %s does not end the process; lost answers are reported', async (code, told) => {
  const lost: string[] = [];
  const stream = new Writable({ write: (_, __, done) => done(Object.assign(new Error(code), { code })) });
  tolerateErrors(stream, ({ message }) => lost.push(message));
  await new Promise((resolve) => {
    stream.once('close', resolve).write('a line\n');
  });
  expect(lost).toEqual(told);
});
