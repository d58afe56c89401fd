import { createServer, type Server, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { addressOf } from '../../test/make/table.ts';
import { kubeProxyHealthPort } from '../core/model/contract.ts';
import { systemClock } from '../main/node/clock.ts';
import type { Clock } from '../ports/clock.ts';
import { makeProbe, probeAll } from './probe.ts';

const { signal } = new AbortController();
const here = addressOf('127.77.0.1');

async function serve(onConnection: (socket: Socket) => void): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    onConnection(socket);
  });
  await new Promise<void>((resolve) => {
    server.listen(kubeProxyHealthPort, here.text, resolve);
  });
  onTestFinished(() => void server.close());
  return server;
}

/** No server on the loopback needs longer to accept a connection. */
const hasty: Clock = { ...systemClock, deadline: (_, outer) => systemClock.deadline(30, outer) };

test('an HTTP answer other than 200 is unhealthy', async () => {
  await serve((socket) => socket.once('data', () => socket.end('HTTP/1.1 503 Service Unavailable\r\n\r\n')));
  expect(await makeProbe({ clock: systemClock })(here, signal)).toBe('unhealthy');
});

test('an HTTP answer may come in pieces', async () => {
  await serve((socket) => {
    socket.write('HT');
    socket.once('data', () => socket.write('TP/1.1 200 OK\r\n\r\n'));
  });
  expect(await makeProbe({ clock: systemClock })(here, signal)).toBe('ok');
});

test.each([
  ['gives another answer', (socket: Socket) => void socket.write('220 hello\r\n')],
  ['closes without an answer', (socket: Socket) => void socket.end()],
  ['resets', (socket: Socket) => void socket.resetAndDestroy()],
  ['accepts and stays silent', () => undefined],
])('a node that %s is alive', async (_, onConnection) => {
  await serve(onConnection);
  expect(await makeProbe({ clock: hasty })(here, signal)).toBe('alive');
});

test('a node that refuses is alive', async () => {
  expect(await makeProbe({ clock: systemClock })(addressOf('127.77.0.2'), signal)).toBe('alive');
});

test('a node without an answer in time, or without a route, is silent', async () => {
  const over: Clock = { ...systemClock, deadline: () => systemClock.deadline(1, AbortSignal.abort(new Error('late'))) };
  expect(await makeProbe({ clock: over })(here, signal)).toBe('silent');
});

test('an abort gives no verdict', async () => {
  const aborted = AbortSignal.abort(new Error('stop'));
  await expect(makeProbe({ clock: systemClock })(here, aborted)).rejects.toThrow('stop');
});

test('all are probed, at most 64 at once', async () => {
  let running = 0;
  let most = 0;
  const targets = new Map(Array.from({ length: 200 }, (_, index) => [index, here] as const));
  const answers = await probeAll(
    async () => {
      most = Math.max(most, ++running);
      await Promise.resolve();
      running--;
      return 'alive';
    },
    targets,
    signal,
  );
  expect([...answers.keys()].sort((a, b) => a - b)).toEqual([...targets.keys()]);
  expect(most).toBe(64);
});
