import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../../main/node/clock.ts';
import type { Clock } from '../../../ports/clock.ts';
import { inEither, unixSockets } from './client.ts';
import { makeRuntimeSession, type RuntimeSession } from './session.ts';

const { signal } = new AbortController();

/** A worker that answers each command with its own text and the number of the connection, a line per command. */
async function startWorker(folder: string): Promise<{ readonly server: Server; readonly open: Set<Socket> }> {
  const open = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    const number = ++connections;
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => undefined); // the client closes it while it answers
    socket.setEncoding('utf8').on('data', (text: string) => {
      for (const command of text.trimEnd().split(/[;\n]/))
        socket.write(command === 'prompt' ? '\n> ' : command === 'die' ? '\n> cut' : `${command} ${number}\n\n> `);
      if (text.includes('die')) socket.destroy();
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(`${folder}/sock`, resolve);
  });
  return { server, open };
}

async function scene(): Promise<{
  session: RuntimeSession;
  worker: Awaited<ReturnType<typeof startWorker>>;
  wait: (ms: number) => void;
}> {
  const folder = await mkdtemp(`${tmpdir()}/session-`);
  let nowMs = 0;
  const clock: Clock = { ...systemClock, monotonic: () => nowMs };
  const worker = await startWorker(folder);
  const sockets = inEither('/nowhere', folder, unixSockets({ clock }));
  const session = makeRuntimeSession({ sockets, path: '/nowhere/sock', clock });
  onTestFinished(async () => {
    session.close();
    worker.server.close();
    await rm(folder, { recursive: true });
  });
  return { session, worker, wait: (ms) => (nowMs += ms) };
}

test('questions share a connection for ten seconds', async () => {
  const { session, wait } = await scene();
  expect(await session.ask(['a', 'b'], signal)).toEqual(['a 1', 'b 1']);
  wait(9_000);
  expect(await session.ask(['c'], signal)).toEqual(['c 1']);
  wait(1_000);
  expect(await session.ask(['d'], signal)).toEqual(['d 2']);
});

test('after its end the next question uses another connection', async () => {
  const { session } = await scene();
  await session.ask(['a'], signal);
  session.close();
  expect(await session.ask(['b'], signal)).toEqual(['b 2']);
});

test('a connection that the worker has closed since the last question is replaced', async () => {
  const { session, worker } = await scene();
  await session.ask(['a'], signal);
  for (const socket of worker.open) socket.destroy();
  await expect.poll(() => worker.open.size).toBe(0);
  expect(await session.ask(['b'], signal)).toEqual(['b 2']);
});

test('a worker that ends within an answer is broken, one that has ended is absent', async () => {
  const { session, worker } = await scene();
  await expect(session.ask(['die'], signal)).rejects.toMatchObject({ how: 'broken' });
  worker.server.close();
  await expect(session.ask(['a'], signal)).rejects.toMatchObject({ how: 'absent' });
});

test('an abort gives the reason of the signal, and the next question its own answer', async () => {
  const { session } = await scene();
  await session.ask(['a'], signal);
  const stop = new AbortController();
  const asked = session.ask(['late'], stop.signal);
  stop.abort(new Error('stop'));
  await expect(asked).rejects.toThrow('stop');
  expect(await session.ask(['b'], signal)).toEqual(['b 2']);
});
