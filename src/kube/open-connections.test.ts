import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { buildConnector } from 'undici';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ip } from '../../test/make/service.ts';
import type { ClusterConfig } from './config.ts';
import { noAnswer } from './reachability.ts';
import { makeOpenConnections } from './open-connections.ts';
import { makeTransport } from './transport.ts';

/** Takes connections from 127.0.0.1, and never answers. */
let server: Server;
let url: string;

beforeEach(async () => {
  server = createServer((socket) => socket.resume().on('error', () => undefined)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => server.close());

const own = (...texts: readonly string[]): ReadonlyMap<string, ReturnType<typeof ip>> =>
  new Map(texts.map((text) => [text, ip(text)]));

const config = (): ClusterConfig => ({
  server: url,
  namespace: undefined,
  identity: 'me',
  tls: { insecure: true, serverName: undefined },
  warnings: [],
  credentials: {
    current: async () => ({}),
    refresh: async () => ({}),
    reload: async () => undefined,
    close: () => undefined,
  },
});

/** A request that has no answer yet, over a connection from 127.0.0.1. */
async function begin(connections: ReturnType<typeof makeOpenConnections>): Promise<{ error: unknown }> {
  const transport = makeTransport(config(), buildConnector({}), connections);
  const outcome: { error: unknown } = { error: undefined };
  const opened = once(server, 'connection');
  const { signal } = new AbortController();
  transport.send({ method: 'GET', target: '/', isWatch: true, signal }).catch((error: unknown) => {
    outcome.error = error;
  });
  const [socket] = await opened;
  await once(socket, 'data'); // the request: the client side is followed by now
  return outcome;
}

test('a request over a connection from an address that the host has changed for another one fails at once', async () => {
  const connections = makeOpenConnections();
  connections.setOwn(own('127.0.0.1', '2001:db8::51'));
  const outcome = await begin(connections);
  connections.setOwn(own('127.0.0.2', '2001:db8::51'));
  await expect.poll(() => outcome.error).toBeDefined();
  expect(noAnswer(outcome.error)).toMatchObject({
    code: 'UNREACHABLE',
    message: 'the connection to the API server was lost',
  });
});

test.each([
  ['while the host has no address of that family', [own('127.0.0.1'), own('2001:db8::51'), own('127.0.0.1')]],
  ['when the host gets another address in addition', [own('127.0.0.1'), own('127.0.0.1', '127.0.0.2')]],
  ['from an address that never was one of the host', [own('127.0.0.3'), own('127.0.0.2')]],
])('a connection stays %s', async (_, [first, ...later]) => {
  const connections = makeOpenConnections();
  connections.setOwn(first ?? own());
  const outcome = await begin(connections);
  for (const each of later) connections.setOwn(each);
  const second = await begin(connections); // whatever was destroyed has failed by now
  expect([outcome.error, second.error]).toEqual([undefined, undefined]);
});

test('a connection from an address that was away ends when another one has taken its place', async () => {
  const connections = makeOpenConnections();
  connections.setOwn(own('127.0.0.1'));
  const outcome = await begin(connections);
  connections.setOwn(own());
  connections.setOwn(own('127.0.0.2'));
  await expect.poll(() => outcome.error).toBeDefined();
});
