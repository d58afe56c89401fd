import { createConnection, createServer } from 'node:net';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { lookup } from 'node:dns/promises';
import { expect, test } from 'vitest';
import { isSystemError, messageOf, systemWords, wordsOf } from './error-words.ts';

async function caught(work: () => unknown): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error('the call must fail');
}

const refusedBy = async (options: { readonly port: number; readonly host: string } | { readonly path: string }) =>
  caught(() => once(createConnection(options), 'connect'));

test.each([
  ['a file', () => readFileSync('/proc/none'), 'no such file or directory', '/proc/none'],
  ['a folder', () => writeFileSync('/proc', ''), 'illegal operation on a directory', '/proc'],
  ['a port', () => refusedBy({ port: 1, host: '127.0.0.1' }), 'connection refused', '127.0.0.1:1'],
  ['a port of an IPv6 address', () => refusedBy({ port: 1, host: '::1' }), 'connection refused', '[::1]:1'],
  ['a socket', () => refusedBy({ path: '/none' }), 'no such file or directory', '/none'],
])(
  'of %s that Node.js cannot use, a user reads the words of the system and the place',
  async (_, work, words, place) => {
    const thrown = await caught(async () => {
      throw await Promise.resolve(work());
    });
    expect(systemWords(thrown)).toBe(words);
    expect(messageOf(thrown)).toBe(`${words} (${place})`);
    expect(isSystemError(thrown)).toBe(true);
  },
);

test('of a name that does not resolve and an address in use, too', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { readonly port: number };
  const inUse = await caught(() => once(createServer().listen(port, '127.0.0.1'), 'listening'));
  expect(messageOf(inUse)).toBe(`address already in use (127.0.0.1:${port})`);
  server.close();
  const unknown = await caught(() => lookup('none.invalid'));
  expect(systemWords(unknown)).toMatch(/^(unknown node or service|temporary failure)$/);
});

test('an error of a file has them beside its message; both count as refused by the system', () => {
  const words = 'read-only file system';
  const refused = Object.assign(new Error(`cannot write /x: ${words}`), { words });
  expect([systemWords(refused), messageOf(refused)]).toEqual([words, `cannot write /x: ${words}`]);
  const ofNode = Object.assign(new Error('EROFS'), { errno: -30 });
  expect([refused, ofNode, new Error(words), { words }].map(isSystemError)).toEqual([true, true, false, false]);
});

test('an error of furiwake, and other values', () => {
  expect([new Error('one\n  two'), 'three', undefined].map(wordsOf)).toEqual(['one; two', 'three', 'undefined']);
  expect(systemWords(new Error('four'))).toBe('four');
});
