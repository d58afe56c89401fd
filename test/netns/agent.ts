import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { createSocket } from 'node:dgram';
import { createInterface } from 'node:readline';
import { parseIp } from '../../src/core/ip/ip.ts';
import { makeProbe } from '../../src/health/probe.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import type { AskUdp, Call, Greet, Outcome } from './agent-calls.ts';

/*
 * Runs inside a network namespace and executes the calls of a test from stdin, one JSON object per line:
 * serves, dials, fetches. The answers go to stdout. It ends with its stdin, so it cannot outlive the test.
 */
/** An import would also load what this module defines lazily: two thirds of the time of a start. */
const { createServer: createHttpServer, get } = process.getBuiltinModule('node:http');

const servers = new Map<string, Server>();
const statuses = new Map<number, number>();
const dialled = new Map<number, { readonly socket: Socket; text: string; end: 'open' | 'ended' | 'reset' }>();
let nextId = 1;

const deadlineMs = 30_000;
const probeAt = (slowness: number): ReturnType<typeof makeProbe> =>
  makeProbe({ clock: { ...systemClock, deadline: (ms, outer) => systemClock.deadline(ms * slowness, outer) } });

async function perform(call: Call): Promise<Outcome> {
  switch (call.do) {
    case 'serveHttp': {
      statuses.set(call.port, call.status ?? 200);
      await unlisten(call.port, call.address);
      await listen(
        createHttpServer((_, response) => {
          response.writeHead(statuses.get(call.port) ?? 200, { connection: 'close' }).end(call.body);
        }),
        call.port,
        call.address,
      );
      return {};
    }
    case 'serveLines': {
      await unlisten(call.port, call.address);
      // Speaks first, like a mail server, then echoes.
      const server = createServer((socket) => {
        socket.on('error', () => socket.destroy());
        socket.write(call.greeting);
        socket.pipe(socket);
      });
      await listen(server, call.port, call.address);
      return {};
    }
    case 'setStatus':
      statuses.set(call.port, call.status);
      return {};
    case 'unlisten':
      await unlisten(call.port, call.address);
      return {};
    case 'fetch':
      return fetchOnce(call.address, call.port, call.timeoutMs ?? deadlineMs);
    case 'probe': {
      const addresses = call.addresses.flatMap((text) => parseIp(text) ?? []);
      const probe = probeAt(call.slowness);
      const answers = await probe(new Map(addresses.map((ip, index) => [index, ip])), new AbortController().signal);
      return { answers: addresses.map((_, index) => answers.get(index) ?? '') };
    }
    case 'serveUdp':
      return serveUdp(call.port, call.body);
    case 'askUdp':
      return askUdp(call);
    case 'greet':
      return greet(call);
    case 'reportSync':
      return reportSync(call.port, call.syncedMs);
    case 'dial':
      return dial(call.address, call.port);
    case 'say': {
      const connection = dialled.get(call.id);
      connection?.socket.write(call.text);
      return {};
    }
    case 'heard': {
      const connection = dialled.get(call.id);
      return connection === undefined ? { end: 'ended' } : { text: connection.text, end: connection.end };
    }
    case 'hangUp':
      dialled.get(call.id)?.socket.destroy();
      return {};
  }
}

function listen(server: Server, port: number, address = '::'): Promise<void> {
  servers.set(`${address}|${port}`, server);
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen({ port, host: address }, resolve);
  });
}

async function unlisten(port: number, address = '::'): Promise<void> {
  const server = servers.get(`${address}|${port}`);
  servers.delete(`${address}|${port}`);
  await new Promise<void>((resolve) => {
    if (server === undefined) resolve();
    else {
      server.close(() => resolve());
      resolve(); // some tests need connections that continue
    }
  });
}

function fetchOnce(host: string, port: number, timeout: number): Promise<Outcome> {
  return new Promise((resolve) => {
    const request = get({ host, port, path: '/', agent: false, timeout }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: body }));
      response.on('error', (error) => resolve({ error: codeOf(error) }));
    });
    request.on('timeout', () => request.destroy(new Error('timeout')));
    request.on('error', (error) => resolve({ error: codeOf(error) }));
  });
}

function serveUdp(port: number, body: string): Promise<Outcome> {
  const socket = createSocket('udp6');
  socket.on('message', (_, { address, port: from }) => {
    socket.send(`${body} ${address.replace('::ffff:', '')} ${from}`, from, address);
  });
  return new Promise((resolve) => {
    socket.bind(port, '::', () => resolve({}));
  });
}

function askUdp({
  address,
  port,
  localPort = 0,
  timeoutMs = 1_000,
  bytes = 1,
  isConnected = false,
}: AskUdp): Promise<Outcome> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  const text = '?'.repeat(bytes);
  return new Promise((resolve) => {
    const end = (outcome: Outcome): void => {
      clearTimeout(timer);
      socket.close();
      resolve(outcome);
    };
    const timer = setTimeout(() => end({ error: 'timeout' }), timeoutMs);
    socket.on('message', (answer) => end({ text: String(answer) }));
    socket.on('error', (error) => end({ error: codeOf(error) }));
    socket.bind(localPort, () => {
      if (!isConnected) return socket.send(text, port, address);
      socket.once('connect', () => socket.send(text));
      socket.connect(port, address);
    });
  });
}

function greet({ address: host, port, timeoutMs, localPort }: Greet): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port, timeout: timeoutMs, localPort });
    const end = (outcome: Outcome): void => {
      socket.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => end({ error: 'timeout' }), timeoutMs);
    socket.on('close', () => {
      clearTimeout(timer);
      end({ error: 'closed' });
    });
    socket.on('data', (data) => end({ text: String(data) }));
    socket.on('error', (error) => end({ error: codeOf(error) }));
  });
}

let syncedMs: number | undefined;

async function reportSync(port: number, atMs: number): Promise<Outcome> {
  const isNew = syncedMs === undefined;
  syncedMs = atMs;
  if (!isNew) return {};
  const server = createHttpServer((_, response) => {
    const synced = { lastUpdated: new Date(syncedMs ?? 0).toISOString() };
    const currentTime = new Date().toISOString();
    response.end(JSON.stringify({ lastUpdated: currentTime, currentTime, status: { IPv4: synced, IPv6: synced } }));
  });
  server.keepAliveTimeout = 0;
  await listen(server, port);
  return {};
}

function dial(host: string, port: number): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port });
    const id = nextId++;
    socket.once('connect', () => {
      dialled.set(id, { socket, text: '', end: 'open' });
      resolve({ id });
    });
    socket.setEncoding('utf8').on('data', (text: string) => {
      const connection = dialled.get(id);
      if (connection !== undefined) connection.text += text;
    });
    socket.on('end', () => note(id, 'ended'));
    socket.on('error', (error) => {
      note(id, 'reset');
      resolve({ error: codeOf(error) });
    });
  });
}

function note(id: number, end: 'ended' | 'reset'): void {
  const connection = dialled.get(id);
  if (connection?.end === 'open') connection.end = end;
}

function codeOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.message;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { number, call } = JSON.parse(line) as { number: number; call: Call };
  void perform(call)
    .catch((error: unknown): Outcome => ({ error: error instanceof Error ? codeOf(error) : String(error) }))
    .then((outcome) => process.stdout.write(`${JSON.stringify({ number, outcome })}\n`));
}
process.exit(0);
