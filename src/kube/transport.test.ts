import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { makePki, type Pki } from '../../test/make/pki.ts';
import type { ClusterConfig } from './config.ts';
import type { Credentials } from './credentials.ts';
import { noAnswer } from './reachability.ts';
import { makeTransport } from './transport.ts';

let folder: string;
/** Certificates of two authorities. */
let mine: Pki;
let other: Pki;
let server: Http2SecureServer;
const sockets = new Set<Socket>();
let url: string;
let connections = 0;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'furiwake-pki-'));
  [mine, other] = [makePki(folder, 'mine'), makePki(folder, 'other')];
  server = createSecureServer(
    { ...mine, allowHTTP1: true, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      const socket = request.socket as TLSSocket;
      response.end(
        JSON.stringify({
          cn: socket.getPeerCertificate().subject?.CN,
          trusted: socket.authorized,
          alpn: socket.alpnProtocol,
          token: request.headers.authorization,
        }),
      );
    },
  );
  server.on('secureConnection', (socket: Socket) => {
    connections += 1;
    sockets.add(socket);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
  rmSync(folder, { recursive: true });
});

/** The client's identity as the server sees it, request by request, with these credentials in turn. */
async function seen(tls: Partial<ClusterConfig['tls']>, ...each: readonly Credentials[]): Promise<readonly unknown[]> {
  let now: Credentials = {};
  const credentials = {
    current: async () => now,
    refresh: async () => now,
    reload: async () => undefined,
    close: () => undefined,
  };
  const config = {
    server: url,
    namespace: undefined,
    identity: 'me',
    tls: { insecure: false, serverName: 'kubernetes', ...tls },
    warnings: [],
    credentials,
  };
  const transport = makeTransport(config);
  try {
    const answers: unknown[] = [];
    for (now of each) {
      const { signal } = new AbortController();
      const answer = await transport.send({ method: 'GET', target: '/', isWatch: false, signal });
      answers.push(await answer.body.json());
    }
    return answers;
  } finally {
    await transport.close();
  }
}

test('a client certificate and a token are sent over HTTP/1.1 to a server of the right authority', async () => {
  expect(await seen({}, { ...mine, token: 't' })).toEqual([
    { cn: 'me', trusted: true, alpn: 'http/1.1', token: 'Bearer t' },
  ]);
});

test('an untrusted server is distinguished from an unreachable one', async () => {
  mkdirSync(path.join(folder, 'again'));
  const namesake = makePki(path.join(folder, 'again'), 'mine'); // a cluster that was created again
  await expect(seen({}, { ca: namesake.ca })).rejects.toSatisfy((error) => noAnswer(error).code === 'UNTRUSTED');
  await expect(seen({}, { ca: other.ca })).rejects.toSatisfy((error) => noAnswer(error).code === 'UNTRUSTED');
  await expect(seen({ serverName: undefined }, { ca: mine.ca })).rejects.toSatisfy((error) =>
    noAnswer(error).message.includes('not valid for 127.0.0.1'),
  );
});

test('insecure-skip-tls-verify accepts any server', async () => {
  expect(await seen({ insecure: true, serverName: undefined }, {})).toMatchObject([{ trusted: false }]);
});

test('connections are reused for the next requests, even with another token; another TLS identity needs a new one', async () => {
  const before = connections;
  await seen({}, ...Array.from({ length: 20 }, (_, index) => ({ ...mine, token: `t${index}` })));
  expect(connections - before).toBeLessThanOrEqual(2); // undici opens a second one when the first is about to become free
  const answers = await seen({}, mine, { ...other, ca: mine.ca });
  expect(answers).toMatchObject([{ trusted: true }, { trusted: false }]);
});

/** To a server of any certificate. */
function transportTo(port: number): ReturnType<typeof makeTransport> {
  const credentials = {
    current: async () => ({}),
    refresh: async () => ({}),
    reload: async () => undefined,
    close: () => undefined,
  };
  return makeTransport({
    server: `https://127.0.0.1:${port}`,
    namespace: undefined,
    identity: 'me',
    tls: { insecure: true, serverName: undefined },
    warnings: [],
    credentials,
  });
}

/** Half of the time after which undici itself gives up. */
const timeout = 5_000;

test(
  'a server that accepts a connection and stays silent outlasts neither the signal nor the close',
  { timeout },
  async () => {
    await using silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const transport = transportTo(port);
    const end = new AbortController();
    const answer = transport.send({ method: 'GET', target: '/', isWatch: false, signal: end.signal });
    const [socket] = (await once(silent, 'connection')) as [Socket];
    const closed = once(
      socket.resume().on('error', () => undefined),
      'close',
    );
    end.abort(new Error('shutting down'));
    await expect(answer).rejects.toThrow('shutting down');
    await transport.close();
    await closed;
  },
);

test('attempts to connect that fail leave nothing behind, however many there are', async () => {
  using added = vi.spyOn(EventTarget.prototype, 'addEventListener');
  using removed = vi.spyOn(EventTarget.prototype, 'removeEventListener');
  await using gone = createServer().listen(0, '127.0.0.1');
  await once(gone, 'listening');
  const { port } = gone.address() as AddressInfo;
  gone.close();
  const transport = transportTo(port);
  for (let attempt = 0; attempt < 10; attempt++) {
    const { signal } = new AbortController();
    await expect(transport.send({ method: 'GET', target: '/', isWatch: false, signal })).rejects.toThrow(
      'ECONNREFUSED',
    );
  }
  const left = new Map<unknown, number>();
  for (const target of added.mock.contexts) left.set(target, (left.get(target) ?? 0) + 1);
  for (const target of removed.mock.contexts) left.set(target, (left.get(target) ?? 0) - 1);
  expect(Math.max(...left.values())).toBeLessThanOrEqual(2);
  await transport.close();
});
