import { expect, test } from 'vitest';
import { isSystemError, systemWords } from './error-words.ts';

test.each([
  ["EROFS: read-only file system, mkdir '/run/furiwake'", 'read-only file system'],
  ['EIO: i/o error, read', 'i/o error'],
  ['listen EACCES: permission denied /run/furiwake/lock.sock', 'permission denied'],
  ['listen EADDRINUSE: address already in use 127.0.0.1:9100', 'address already in use'],
  ['no code at all', 'no code at all'],
])('of %j the words of the system are %j', (message, words) => {
  expect(systemWords(new Error(message))).toBe(words);
});

test('an error of a file has them beside its message; both count as refused by the system', () => {
  const words = 'read-only file system';
  const refused = Object.assign(new Error(`cannot write /x: ${words}`), { words });
  expect(systemWords(refused)).toBe(words);
  const ofNode = Object.assign(new Error('EROFS'), { errno: -30 });
  expect([refused, ofNode, new Error(words), { words }].map(isSystemError)).toEqual([true, true, false, false]);
});
