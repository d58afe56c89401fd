import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { findHolder, type Holder, lockHost } from './host-lock.ts';

const { signal } = new AbortController();
const first: Holder = { command: 'run', pid: 11, stateDir: '/var/lib/furiwake' };
const second: Holder = { command: 'cleanup', pid: 12, stateDir: '/var/lib/other' };
const anySocket = (): string => `\0furiwake-test-${randomUUID()}`;

test('one has a host, with whatever state directory; the next one is told who, and gets it after that', async () => {
  const socket = anySocket();
  expect(await findHolder(signal, socket)).toBeUndefined();
  const lock = await lockHost(first, signal, socket);
  expect(await findHolder(signal, socket)).toEqual(first);
  await expect(lockHost(second, signal, socket)).rejects.toMatchObject({
    code: 'START',
    message: expect.stringMatching(/a furiwake runs on this host \(furiwake run, process 11, .*\/var\/lib\/furiwake\)/),
  });
  await lock[Symbol.asyncDispose]();
  await using _lock = await lockHost(second, signal, socket);
  expect(await findHolder(signal, socket)).toEqual(second);
});

test('it is not let go when its process is told to end, but when that has ended', async () => {
  const socket = anySocket();
  const end = new AbortController();
  await using _lock = await lockHost(first, end.signal, socket);
  end.abort();
  await expect(lockHost(second, signal, socket)).rejects.toThrow('process 11');
});

test('a socket of somebody else is told, and how to find its owner', async () => {
  const socket = anySocket();
  const stranger = createServer((connection) => connection.end('no HTTP'));
  stranger.listen({ path: socket });
  await once(stranger, 'listening');
  await expect(lockHost(first, signal, socket)).rejects.toThrow('ss --listening --unix --processes src @furiwake');
  stranger.close();
});
