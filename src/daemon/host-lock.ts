import { jsonReply, serveHttp } from '../http/server.ts';
import { askSocket } from './ask.ts';
import { StartError } from './errors.ts';

/** The one that changes this host. */
export type Holder = { readonly command: 'run' | 'cleanup'; readonly pid: number; readonly stateDir: string };

/**
 * Abstract: without a file, so it goes with its process and no stale one is left. Each network namespace has its own, as
 * it has its own nft table, routing rule and ports.
 */
const hostSocket = '\0furiwake';

const tries = 3;

/**
 * Makes this process the only one that changes this host, until disposed: with any state directory, for what furiwake
 * puts on a host is there once. It serves who has it. Throws {@link StartError} while another one does.
 */
export async function lockHost(
  holder: Holder,
  signal: AbortSignal,
  socketPath: string = hostSocket,
): Promise<AsyncDisposable> {
  const never = new AbortController().signal; // being told to end does not let go of it: the end may take its time
  for (let left = tries; ; left--) {
    try {
      return await serveHttp({ path: socketPath }, { 'GET /holder': async () => jsonReply(holder) }, never);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      const other = await findHolder(signal, socketPath);
      if (other !== undefined || left === 1) throw new StartError(heldBy(other), { cause: error });
    }
  }
}

/** Who has the lock; `undefined`: nobody. */
export async function findHolder(
  signal: AbortSignal,
  socketPath: string = hostSocket,
): Promise<Holder | 'unknown' | undefined> {
  try {
    const { status, text } = await askSocket({ socketPath, method: 'GET', path: '/holder' }, signal);
    return status === 200 ? (JSON.parse(text) as Holder) : 'unknown';
  } catch (error) {
    signal.throwIfAborted();
    return (error as NodeJS.ErrnoException).code === 'ECONNREFUSED' ? undefined : 'unknown';
  }
}

function heldBy(other: Holder | 'unknown' | undefined): string {
  if (other === undefined || other === 'unknown')
    return 'something has the lock of this host, the abstract unix socket @furiwake, and does not say who it is: find it with `ss --listening --unix --processes src @furiwake`, and end it';
  return `a furiwake runs on this host (furiwake ${other.command}, process ${other.pid}, state directory ${other.stateDir}): end it first; there is one on a host, for the nft table, the routing rule and the port are there once`;
}
