import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { boundedWrite } from './bounded-write.ts';

test('texts for a reader that does not read are dropped from a limit on, and counted once it reads', async () => {
  const taken: string[] = [];
  let next: (() => void) | undefined;
  const stream = new Writable({
    decodeStrings: false,
    highWaterMark: 10,
    write: (text: string, _, done) => {
      taken.push(text);
      next = done;
    },
  });
  const write = boundedWrite({ stream, mostBytes: 40, onRead: (dropped) => write(`${dropped} dropped`) });
  for (let line = 0; line < 100; line++) write(`line ${line % 10} ...`);
  expect(stream.writableLength).toBeLessThanOrEqual(40);
  for (; next !== undefined; await new Promise(setImmediate)) {
    const done = next;
    next = undefined;
    done();
  }
  expect(taken).toEqual(['line 0 ...', 'line 1 ...', 'line 2 ...', 'line 3 ...', '96 dropped']);
  write('line 5');
  expect(taken.at(-1)).toBe('line 5');
});
