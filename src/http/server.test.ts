import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type HttpReply, mostConnections, type Routes, serveHttp, textReply } from './server.ts';

const routes: Routes = {
  'GET /healthz': async () => textReply(200, 'ok\n'),
  'GET /broken': async () => {
    throw new Error('no luck');
  },
};

/** The first lines of one server's answers to these requests, each over a new connection. */
async function answersTo(...requests: readonly string[]): Promise<readonly string[]> {
  await using server = await serveHttp({ host: '127.0.0.1', port: 0 }, routes, new AbortController().signal);
  const answers: string[] = [];
  for (const request of requests) {
    const socket = connect(server.port, '127.0.0.1').setEncoding('utf8');
    socket.end(`${request} HTTP/1.1\r\nHost: furiwake\r\nConnection: close\r\n\r\n`);
    let text = '';
    socket.on('data', (part: string) => {
      text += part;
    });
    await once(socket, 'close');
    answers.push(text.split('\r\n', 1)[0] ?? '');
  }
  return answers;
}

test.each([
  ['GET /healthz?verbose', '200 OK'],
  ['GET /nowhere', '404 Not Found'],
  ['POST /healthz', '404 Not Found'],
  ['GET /broken', '500 Internal Server Error'],
  ['GET //', '400 Bad Request'],
  ['GET http://[', '400 Bad Request'],
])('%s is answered with %s, and the server continues', async (request, status) => {
  expect(await answersTo(request, 'GET /healthz')).toEqual([`HTTP/1.1 ${status}`, 'HTTP/1.1 200 OK']);
});

test('the answer to an unknown page names those that exist', async () => {
  await using server = await serveHttp({ host: '127.0.0.1', port: 0 }, routes, new AbortController().signal);
  const answer = await fetch(`http://127.0.0.1:${server.port}/nowhere`);
  expect(await answer.text()).toBe('Not found. Available: GET /healthz, GET /broken\n');
});

test('connections beyond a limit are closed at once, and one that ends gives its place to the next', async () => {
  await using server = await serveHttp({ host: '127.0.0.1', port: 0 }, routes, new AbortController().signal);
  const open = (): Socket =>
    connect(server.port, '127.0.0.1')
      .on('error', () => undefined)
      .resume();
  const held = Array.from({ length: mostConnections }, open);
  await Promise.all(held.map((socket) => once(socket, 'connect')));
  // One that sends no request is closed in any case, after thirty seconds.
  await once(open(), 'close', { signal: AbortSignal.timeout(20_000) });
  held[0]?.destroy();
  const ask = async (): Promise<string> => await (await fetch(`http://127.0.0.1:${server.port}/healthz`)).text();
  await expect.poll(() => ask().catch(() => '')).toBe('ok\n');
  for (const socket of held) socket.destroy();
});

test('a body of more than 64 kB is refused', async () => {
  const echo: Routes = { 'POST /echo': async (body) => textReply(200, String(body.length)) };
  await using server = await serveHttp({ host: '127.0.0.1', port: 0 }, echo, new AbortController().signal);
  const post = async (length: number): Promise<readonly [number, string]> => {
    const answer = await fetch(`http://127.0.0.1:${server.port}/echo`, { method: 'POST', body: 'x'.repeat(length) });
    return [answer.status, await answer.text()];
  };
  expect(await post(65_536)).toEqual([200, '65536']);
  expect(await post(65_537)).toEqual([500, 'the request body exceeds 65536 bytes\n']);
});

describe('an answer in parts', () => {
  const inParts = (body: Iterable<string>): HttpReply => ({ status: 200, contentType: 'text/plain', body });

  test('lets others be answered between its parts', async () => {
    const order: string[] = [];
    const parts = function* (): Generator<string> {
      for (let part = 0; part < 1_000; part++) {
        order.push('part');
        yield `${part}\n`;
      }
    };
    const other = async (): Promise<HttpReply> => {
      order.push('other');
      return textReply(200, 'ok\n');
    };
    await using server = await serveHttp(
      { host: '127.0.0.1', port: 0 },
      { 'GET /parts': async () => inParts(parts()), 'GET /other': other },
      new AbortController().signal,
    );
    const ask = async (path: string): Promise<string> =>
      await (await fetch(`http://127.0.0.1:${server.port}${path}`)).text();
    await ask('/other'); // the client is ready
    order.length = 0;
    const [text] = await Promise.all([ask('/parts'), ask('/other')]);
    expect(text.split('\n').slice(-2)).toEqual(['999', '']);
    expect(order.lastIndexOf('part')).toBeGreaterThan(order.indexOf('other'));
  });

  test('ends the connection when a part fails, and is not made to the end for a client that has left', async () => {
    let made = 0;
    const hasEnded = Promise.withResolvers<void>();
    const endless = function* (): Generator<string> {
      try {
        for (; ; made++) yield 'x'.repeat(1_000);
      } finally {
        hasEnded.resolve();
      }
    };
    const failing = function* (): Generator<string> {
      yield 'begun\n';
      throw new Error('no luck');
    };
    await using server = await serveHttp(
      { host: '127.0.0.1', port: 0 },
      { 'GET /endless': async () => inParts(endless()), 'GET /failing': async () => inParts(failing()) },
      new AbortController().signal,
    );
    const at = (path: string): string => `http://127.0.0.1:${server.port}${path}`;
    await expect(fetch(at('/failing')).then((answer) => answer.text())).rejects.toThrow('terminated');
    const stop = new AbortController();
    const answer = await fetch(at('/endless'), { signal: stop.signal });
    expect(answer.status).toBe(200);
    stop.abort();
    await hasEnded.promise;
    expect(made).toBeGreaterThan(0);
  });
});

test('a server whose signal aborts before it listens does not listen, which would keep the process from its end', async () => {
  const folder = await mkdtemp(`${tmpdir()}/server-`);
  onTestFinished(() => rm(folder, { recursive: true }));
  const isThere = async (name: string): Promise<boolean> => (await readdir(folder)).includes(name);
  const stop = new AbortController();
  const starting = serveHttp({ path: `${folder}/early` }, routes, stop.signal);
  stop.abort(new Error('stop'));
  await expect(starting).rejects.toThrow('aborted');
  await expect(serveHttp({ path: `${folder}/late` }, routes, stop.signal)).rejects.toThrow('stop');
  await expect.poll(() => isThere('early')).toBe(false);
  expect(await isThere('late')).toBe(false);
});
