import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type Server, connect, createServer } from 'node:net';

/** A name that this process alone holds, until disposed or until the process ends, however it ends. */
export type Claim = AsyncDisposable;

/**
 * Claims `name` on this machine, or says which process holds it (0: it let go just now).
 *
 * The claim is an abstract Unix socket: the kernel lets go of it with the process, so no claim is ever stale and
 * nothing is left on the disk. Whoever finds it taken connects, reads the holder's process id and is told by the
 * end of the connection when the name is free.
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

/** Does `work` while holding `name`, after waiting for its holder where there is one; `onWait` learns whose turn it is. */
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

/** Abstract addresses hold 107 bytes; a hash always fits. */
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
