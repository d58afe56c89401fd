import { createServer, type Server, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import type { Ip } from '../core/ip/ip.ts';
import { addressOf } from '../../test/make/table.ts';
import { kubeProxyHealthPort } from '../core/model/contract.ts';
import { systemClock } from '../main/node/clock.ts';
import type { Clock } from '../ports/clock.ts';
import type { CheckAnswer } from '../ports/health.ts';
import { makeProbe } from './probe.ts';

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

async function ask(address: Ip, clock = systemClock): Promise<CheckAnswer | undefined> {
  return (await makeProbe({ clock })(new Map([['it', address]]), signal)).get('it');
}

/** No server on the loopback needs longer to accept a connection. */
const hasty: Clock = { ...systemClock, deadline: (_, outer) => systemClock.deadline(30, outer) };

test('an HTTP answer other than 200 is unhealthy', async () => {
  await serve((socket) => socket.once('data', () => socket.end('HTTP/1.1 503 Service Unavailable\r\n\r\n')));
  expect(await ask(here)).toBe('unhealthy');
});

test('an HTTP answer may come in pieces', async () => {
  await serve((socket) => {
    socket.write('HT');
    socket.once('data', () => socket.write('TP/1.1 200 OK\r\n\r\n'));
  });
  expect(await ask(here)).toBe('ok');
});

test.each([
  ['gives another answer', (socket: Socket) => void socket.write('220 hello\r\n')],
  ['closes without an answer', (socket: Socket) => void socket.end()],
  ['resets', (socket: Socket) => void socket.resetAndDestroy()],
  ['accepts and stays silent', () => undefined],
])('a node that %s is alive', async (_, onConnection) => {
  await serve(onConnection);
  expect(await ask(here, hasty)).toBe('alive');
});

test('a node that refuses is alive', async () => {
  expect(await ask(addressOf('127.77.0.2'))).toBe('alive');
});

test('a node without an answer in time, or without a route, is silent', async () => {
  const over: Clock = { ...systemClock, deadline: () => systemClock.deadline(1, AbortSignal.abort(new Error('late'))) };
  expect(await ask(here, over)).toBe('silent');
  const unreachable = addressOf('255.255.255.255'); // a TCP connection to it fails at once, as without a route
  const never: Clock = { ...systemClock, deadline: () => systemClock.deadline(60_000, signal) };
  expect(await ask(unreachable, never)).toBe('silent');
});

test('an abort gives no verdict', async () => {
  const aborted = AbortSignal.abort(new Error('stop'));
  await expect(makeProbe({ clock: systemClock })(new Map([['it', here]]), aborted)).rejects.toThrow('stop');
});

test('each node has its own answer', async () => {
  await serve((socket) => socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\n\r\n')));
  const targets = new Map([
    ['open', here],
    ['closed', addressOf('127.77.0.2')],
  ]);
  expect(await makeProbe({ clock: systemClock })(targets, signal)).toEqual(
    new Map([
      ['open', 'ok'],
      ['closed', 'alive'],
    ]),
  );
});

test('a node that accepted while this process was busy is not silent', async () => {
  await serve((socket) => void socket.end());
  const busy: Clock = {
    ...systemClock,
    deadline: (_, outer) => {
      setImmediate(() => {
        const until = performance.now() + 60;
        while (performance.now() < until); // longer than the deadline
      });
      return systemClock.deadline(20, outer);
    },
  };
  expect(await ask(here, busy)).toBe('alive');
});
