import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type Server, connect, createServer } from 'node:net';

/** A name that only this process holds, until it is disposed of or the process ends in any way. */
export type Claim = AsyncDisposable;

/**
 * Claims `name` on this machine, or returns the process that holds it (0: it was just released).
 *
 * The claim is an abstract Unix socket, which the kernel closes with the process, so no claim is ever stale and no file
 * is left on the disk. A process that finds the name in use connects and reads the holder's process ID; the connection
 * ends when the name is free.
 */
export async function tryClaim(name: string): Promise<Claim | { readonly heldBy: number }> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined); // a waiter may leave at any time
    socket.unref().write(String(process.pid));
    waiters.add(socket);
    socket.once('close', () => waiters.delete(socket));
  });
  const waiters = new Set<{ destroy(): void }>();
  const isOurs = await listen(server, address(name));
  if (!isOurs) return { heldBy: await holder(name) };
  server.unref();
  return {
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const waiter of waiters) waiter.destroy();
      await closed;
    },
  };
}

/** Does `work` while holding `name`, after waiting for its holder if there is one; `onWait` gets the holder. */
export async function whileClaiming<T>(
  name: string,
  { signal, onWait, work }: { signal: AbortSignal; onWait: (pid: number) => void; work: () => Promise<T> },
): Promise<T> {
  for (;;) {
    const claim = await tryClaim(name);
    if ('heldBy' in claim) {
      if (claim.heldBy !== 0) onWait(claim.heldBy);
      await released(name, signal);
      continue;
    }
    try {
      return await work();
    } finally {
      await claim[Symbol.asyncDispose]();
    }
  }
}

/** Abstract addresses have at most 107 bytes; a hash always fits. */
function address(name: string): string {
  return `\0furiwake-${createHash('sha256').update(name).digest('hex').slice(0, 32)}`;
}

function listen(server: Server, path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(false) : reject(error),
    );
    server.listen(path, () => resolve(true));
  });
}

function holder(name: string): Promise<number> {
  return new Promise((resolve) => {
    const socket = connect(address(name));
    socket.once('error', () => resolve(0)).once('close', () => resolve(0));
    socket.once('data', (text) => {
      resolve(Number(text));
      socket.destroy();
    });
  });
}

function released(name: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: address(name) });
    const abort = (): void => {
      socket.destroy();
      reject(signal.reason);
    };
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    socket.once('error', () => undefined); // `close` follows
    socket.once('close', () => {
      signal.removeEventListener('abort', abort);
      resolve();
    });
    socket.resume();
  });
}
