import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { type Routes, serveHttp, textReply } from './server.ts';

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
