import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { expect, test } from 'vitest';
import { addressOf } from '../../test/make/table.ts';
import { fastClock } from '../../test/sim/virtual-clock.ts';
import { systemClock } from '../main/node/clock.ts';
import { makeAskHealthCheckPort } from './health-check-port.ts';

const { signal } = new AbortController();
const loopback = addressOf('127.0.0.1');

async function answerOf(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await makeAskHealthCheckPort({ clock: systemClock })(
      loopback,
      (server.address() as AddressInfo).port,
      signal,
    );
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test.each([
  [200, 'confirms'],
  [503, 'denies'],
  [301, 'denies'],
  [404, 'denies'],
])('status %i: %s', async (status, expected) => {
  expect(
    await answerOf((request, response) => {
      response.writeHead(request.url === '/healthz' ? status : 500).end('{"localEndpoints":1}');
    }),
  ).toBe(expected);
});

test('a body that never ends is not read', async () => {
  expect(
    await answerOf((_, response) => {
      response.writeHead(200).write('x'.repeat(65_536));
    }),
  ).toBe('confirms');
});

test('a port that refuses, that closes, and that never answers is mute', async () => {
  expect(await makeAskHealthCheckPort({ clock: systemClock })(loopback, 1, signal)).toBe('mute');
  expect(await answerOf((request) => request.socket.destroy())).toBe('mute');
  const server = createTcpServer(() => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const ask = makeAskHealthCheckPort({ clock: fastClock(100) });
  expect(await ask(loopback, (server.address() as AddressInfo).port, signal)).toBe('mute');
  server.close();
});

test.each([
  ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n'],
  ['a status that is not a number', 'HTTP/1.1 2OO OK\r\n\r\n'],
  ['zeros', '\0'.repeat(10_000)],
  ['a header without an end', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(1_000_000)}`],
  ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx'],
])('a port that answers %s is mute', async (_, text) => {
  const server = createTcpServer((socket) => {
    socket.on('error', () => undefined).write(text); // the asker hangs up
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const ask = makeAskHealthCheckPort({ clock: fastClock(10) });
  expect(await ask(loopback, (server.address() as AddressInfo).port, signal)).toBe('mute');
  server.close();
});

test('an aborted question rejects with the reason', async () => {
  const aborted = AbortSignal.abort(new Error('shutting down'));
  await expect(makeAskHealthCheckPort({ clock: systemClock })(loopback, 1, aborted)).rejects.toThrow('shutting down');
});
