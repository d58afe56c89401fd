import { createServer, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setImmediate } from 'node:timers/promises';
import { messageOf } from '../async/error-words.ts';

export type HttpReply = {
  readonly status: number;
  readonly contentType: string;
  /** In parts: a part is made when the one before is written and other work that was due is done. */
  readonly body: string | Iterable<string>;
};
export type HttpHandler = (body: string, signal: AbortSignal, query: URLSearchParams) => Promise<HttpReply>;

/** `METHOD /path` → handler. */
export type Routes = Readonly<Record<string, HttpHandler>>;

/** A TCP address, or the path of a unix socket. */
export type ListenAddress = { readonly host: string; readonly port: number } | { readonly path: string };

const maxBodyBytes = 64 * 1024;
const requestTimeoutMs = 10_000;
/** Any user of the host may connect to the metrics: more connections would take the file descriptors that furiwake's programs need. */
export const mostConnections = 64;

/**
 * An HTTP server for a few fixed routes. It listens once the promise resolves, and ends with `signal` or when disposed.
 * Throws the system's error when it cannot listen (`EADDRINUSE`, `EACCES`).
 */
export async function serveHttp(
  address: ListenAddress,
  routes: Routes,
  signal: AbortSignal,
): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createServer(
    { requestTimeout: requestTimeoutMs, headersTimeout: requestTimeoutMs, keepAliveTimeout: 5_000 },
    (request, response) => {
      reply(request, routes, signal)
        .then(async ({ status, contentType, body }) => {
          if (typeof body !== 'string') {
            response.writeHead(status, { 'content-type': contentType });
            return await pipeline(Readable.from(inTurns(body)), response);
          }
          response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) });
          response.end(body);
        })
        .catch(() => response.destroy()); // the client has closed the connection, or the answer could not be written
    },
  );
  server.maxConnections = mostConnections;
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  signal.throwIfAborted(); // a server that listens keeps the process from its end
  server.listen(address);
  try {
    await once(server, 'listening', { signal });
  } catch (error) {
    server.close();
    throw error;
  }
  server.on('error', () => undefined); // a connection that could not be accepted; the next may succeed
  signal.addEventListener('abort', () => void close(), { once: true });
  const bound = server.address();
  return { port: typeof bound === 'object' && bound !== null ? bound.port : 0, [Symbol.asyncDispose]: close };
}

async function* inTurns(parts: Iterable<string>): AsyncGenerator<string> {
  for (const part of parts) {
    yield part;
    await setImmediate();
  }
}

async function reply(request: IncomingMessage, routes: Routes, signal: AbortSignal): Promise<HttpReply> {
  const url = URL.parse(request.url ?? '/', 'http://furiwake');
  if (url === null) return textReply(400, 'Invalid path.\n');
  const handler = routes[`${request.method ?? 'GET'} ${url.pathname}`];
  if (handler === undefined) return textReply(404, `Not found. Available: ${Object.keys(routes).join(', ')}\n`);
  try {
    return await handler(await bodyOf(request), signal, url.searchParams);
  } catch (error) {
    return textReply(500, `${messageOf(error)}\n`);
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBodyBytes) throw new Error(`the request body exceeds ${maxBodyBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

export function textReply(status: number, body: string): HttpReply {
  return { status, contentType: 'text/plain; charset=utf-8', body };
}

export function jsonReply(value: unknown): HttpReply {
  return { status: 200, contentType: 'application/json', body: `${JSON.stringify(value)}\n` };
}
