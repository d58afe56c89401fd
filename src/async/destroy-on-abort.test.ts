import { getEventListeners, once } from 'node:events';
import { createConnection, createServer, type AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { destroyOnAbort } from './destroy-on-abort.ts';

const nowhere = { path: '/nowhere/socket' };

test('a socket that has failed leaves nothing at the signal', async () => {
  const { signal } = new AbortController();
  for (let attempt = 0; attempt < 3; attempt++) {
    const socket = createConnection(nowhere);
    destroyOnAbort(socket, signal);
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    await new Promise<void>((resolve) => void socket.on('error', () => undefined).on('close', () => resolve()));
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  }
});

test('an open socket, and one that is opened later, are destroyed with the reason', async () => {
  await using server = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const stop = new AbortController();
  const open = createConnection({ port, host: '127.0.0.1' });
  await once(open, 'connect');
  destroyOnAbort(open, stop.signal);
  const failed = once(open, 'close').catch((error: unknown) => error);
  stop.abort(new Error('enough'));
  expect(await failed).toMatchObject({ message: 'enough' });
  const later = createConnection(nowhere);
  const alsoFailed = once(later, 'close').catch((error: unknown) => error);
  destroyOnAbort(later, stop.signal);
  expect(await alsoFailed).toMatchObject({ message: 'enough' });
});
