import { once } from 'node:events';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { addressOf } from '../../test/make/table.ts';
import { kubeProxyHealthPort } from '../core/model/contract.ts';
import { systemClock } from '../main/node/clock.ts';
import type { Clock } from '../ports/clock.ts';
import { type KubeProxy, makeKubeProxy } from './kube-proxy-sync.ts';

const { signal } = new AbortController();
const here = addressOf('127.77.2.1');

/** Its requests are sent at 10,000 ms. */
const clock: Clock = { ...systemClock, monotonic: () => 10_000 };

async function listen(server: Server): Promise<void> {
  server.listen(kubeProxyHealthPort, here.text);
  await once(server, 'listening');
}

async function serve(onRequest: RequestListener): Promise<{ restart(): Promise<void> }> {
  const server = createServer({ keepAliveTimeout: 0 }, onRequest);
  const close = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  await listen(server);
  onTestFinished(close);
  return {
    restart: async () => {
      await close();
      await listen(server);
    },
  };
}

function kubeProxy(withClock: Clock = clock): KubeProxy {
  const made = makeKubeProxy({ clock: withClock });
  onTestFinished(() => made.close());
  return made;
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** As kube-proxy 1.37 answers: times with nanoseconds, the outer `lastUpdated` is the current time. */
const synced = {
  lastUpdated: '2026-11-27T21:34:37.500000001Z',
  currentTime: '2026-11-27T21:34:37.500000000Z',
  nodeEligible: true,
  healthy: true,
  status: {
    IPv4: { lastUpdated: '2026-11-27T21:34:36.250999999Z', healthy: true },
    IPv6: { lastUpdated: '2026-11-27T22:34:36.5+01:00', healthy: true },
  },
};

test('the end of a sync is at least as old as the node says, counted from when the request was sent', async () => {
  await serve((_, response) => answer(response, 200, synced));
  expect(await kubeProxy().ask(here, signal)).toEqual({
    sentMs: 10_000,
    isHealthy: true,
    isSameProcess: false,
    syncs: {
      4: { id: synced.status.IPv4.lastUpdated, endMs: 10_000 - 1_250 - 1 },
      6: { id: synced.status.IPv6.lastUpdated, endMs: 10_000 - 1_000 - 1 },
    },
  });
});

test('an unhealthy kube-proxy reports its syncs, too', async () => {
  await serve((_, response) => answer(response, 503, { ...synced, nodeEligible: false }));
  expect(await kubeProxy().ask(here, signal)).toMatchObject({ isHealthy: false, syncs: { 4: { endMs: 8_749 } } });
});

test('a family that has not started is missing, and so is one whose sync lies in the future', async () => {
  const status = { IPv6: { ...synced.status.IPv6, lastUpdated: '2026-11-27T21:34:38Z' } };
  await serve((_, response) => answer(response, 200, { ...synced, status }));
  expect((await kubeProxy().ask(here, signal))?.syncs).toEqual({});
});

test.each([
  ['before its first sync', { ...synced, status: undefined }],
  [
    'of Kubernetes 1.30',
    { lastUpdated: '2024-06-03 23:59:53.688063083 +0000 UTC m=+202.6', currentTime: '2024-06-03 23:59:53 +0000 UTC' },
  ],
])('a kube-proxy %s reports no syncs', async (_, body) => {
  await serve((_request, response) => answer(response, 200, body));
  expect(await kubeProxy().ask(here, signal)).toMatchObject({ isHealthy: true, syncs: undefined });
});

test('answers on one connection are those of one process; a restart ends the connection', async () => {
  const server = await serve((_, response) => answer(response, 200, synced));
  const asked = kubeProxy();
  expect(await asked.ask(here, signal)).toMatchObject({ isSameProcess: false });
  expect(await asked.ask(here, signal)).toMatchObject({ isSameProcess: true });
  await server.restart();
  const afterwards = (await asked.ask(here, signal)) ?? (await asked.ask(here, signal));
  expect(afterwards).toMatchObject({ isSameProcess: false });
});

test.each([
  ['another status', (response: ServerResponse) => answer(response, 404, synced)],
  ['a redirect', (response: ServerResponse) => void response.writeHead(302, { location: '/' }).end()],
  ['no JSON', (response: ServerResponse) => void response.end('ok')],
  ['JSON of another kind', (response: ServerResponse) => answer(response, 200, [synced])],
  ['a time that is a number', (response: ServerResponse) => answer(response, 200, { ...synced, currentTime: 5 })],
  [
    'a sync whose time is not a time',
    (response: ServerResponse) => answer(response, 200, { ...synced, status: { IPv4: { lastUpdated: 'now' } } }),
  ],
  ['a status that is a text', (response: ServerResponse) => answer(response, 200, { ...synced, status: 'IPv4' })],
  [
    'an answer without end',
    (response: ServerResponse) => {
      const more = (): void => void response.write('x'.repeat(4_096), (error) => !error && more());
      more();
    },
  ],
  ['half an answer', (response: ServerResponse) => void response.write('{"currentTime":', () => response.destroy())],
])('%s is not an answer', async (_, onRequest) => {
  await serve((_request, response) => onRequest(response));
  expect(await kubeProxy().ask(here, signal)).toBeUndefined();
});

test.each([
  ['closes the connection', (socket: Socket) => void socket.end()],
  ['does not speak HTTP', (socket: Socket) => void socket.end('220 hello\r\n')],
  ['is silent', () => undefined],
])('a server that %s gives no answer', async (_, onConnection) => {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  await listen(server);
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const hasty: Clock = { ...clock, deadline: (_ms, outer) => systemClock.deadline(30, outer) };
  expect(await kubeProxy(hasty).ask(here, signal)).toBeUndefined();
});

test('a closed port gives no answer, and an abort rejects', async () => {
  expect(await kubeProxy().ask(addressOf('127.77.2.2'), signal)).toBeUndefined();
  await expect(kubeProxy().ask(here, AbortSignal.abort(new Error('stop')))).rejects.toThrow('stop');
});
