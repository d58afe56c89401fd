import path from 'node:path';
import * as z from 'zod';
import { isSystemError, systemWords } from '../async/error-words.ts';
import { jsonReply, serveHttp } from '../http/server.ts';
import { ExecError } from '../ports/exec.ts';
import { askSocket } from './ask.ts';
import { StartError } from './errors.ts';
import { assertPrivate, removeEmptyFolders } from './folders.ts';
import type { Platform } from './platform.ts';

/** The instance that may change this host. */
export type LockHolder = { readonly command: 'run' | 'cleanup'; readonly pid: number; readonly stateDir: string };

/** `unknown`: an instance that does not answer. */
export type FoundHolder = LockHolder | 'unknown' | undefined;

export type HostLock = AsyncDisposable & {
  /**
   * Listens again after the socket was removed, and resolves with its path then. Throws {@link StartError} while there is
   * another instance that has started meanwhile, because it could not find this one.
   */
  readonly restore: () => Promise<readonly string[]>;
};

type LockDeps = Pick<Platform, 'files' | 'exec' | 'newId' | 'runFolder'>;

const holderSchema = z.object({ command: z.enum(['run', 'cleanup']), pid: z.int(), stateDir: z.string() });

/**
 * Makes this process the only one that changes this host, until disposed: with any state directory, because the nftables
 * table, the routing rule and HAProxy's port exist once per network namespace.
 *
 * The folder is accessible only to root, and belongs to one network namespace. Each instance listens on its own socket
 * there and then connects to all others. Of two instances the one that listens later finds the other, so two never
 * succeed, and the removal of a stale socket never removes a live one. `ss` finds an instance whose socket was removed.
 * `cleanup` leaves no folder behind. Throws {@link StartError} while another instance exists.
 */
export async function lockHost(holder: LockHolder, deps: LockDeps, signal: AbortSignal): Promise<HostLock> {
  const { files, exec, newId, runFolder } = deps;
  const name = `${newId()}.sock`;
  const socketPath = `${runFolder}/${name}`;
  // The lock outlives `signal`: a process that is shutting down may take some time.
  const never = new AbortController().signal;
  const listen = (): Promise<AsyncDisposable> =>
    serveHttp({ path: socketPath }, { 'GET /holder': async () => jsonReply(holder) }, never);
  const open = async (): Promise<AsyncDisposable> => {
    await files.makeFolder(runFolder);
    await assertPrivate(files, runFolder);
    return await listen();
  };
  let server = await open().catch((error: unknown) => {
    if (!isSystemError(error)) throw error;
    const words = `${runFolder} cannot be used: it must be a folder in which root can create files and sockets`;
    throw new StartError(`${words} (${systemWords(error)})`, { cause: error });
  });
  const release = async (): Promise<void> => {
    await server[Symbol.asyncDispose]();
    await files.remove(socketPath);
    if (holder.command === 'cleanup') await removeEmptyFolders(exec, [runFolder, path.dirname(runFolder)]);
  };
  try {
    const other = await findHolder(deps, signal, name);
    if (other !== undefined) throw new StartError(heldBy(other));
    const lost = await lostHolder(deps, name, signal);
    if (lost !== undefined)
      throw new StartError(
        `furiwake is already running on this host (PID ${lost}), and its socket in ${runFolder} was removed. ${oneInstance}`,
      );
    const earlier = await earlierHolder(deps, signal);
    if (earlier !== undefined)
      throw new StartError(`an earlier release of furiwake is running on this host (PID ${earlier}). ${oneInstance}`);
  } catch (error) {
    await release();
    throw error;
  }
  let wasLost = false;
  const restore = async (): Promise<readonly string[]> => {
    const isLost = !(await files.exists(socketPath));
    if (isLost) {
      wasLost = true;
      await files.makeFolder(runFolder);
      await assertPrivate(files, runFolder);
      await server[Symbol.asyncDispose](); // which removes a file with this name
      server = await listen();
    }
    const other = wasLost ? await findHolder(deps, never, name) : undefined;
    if (other !== undefined) throw new StartError(heldBy(other));
    return isLost ? [socketPath] : [];
  };
  return { restore, [Symbol.asyncDispose]: release };
}

/** The holder of the lock; `except` is the name of the caller's own socket. Removes the sockets of dead processes. */
export async function findHolder(
  { files, runFolder }: Pick<LockDeps, 'files' | 'runFolder'>,
  signal: AbortSignal,
  except?: string,
): Promise<FoundHolder> {
  for (const name of await files.list(runFolder)) {
    if (name === except || !name.endsWith('.sock')) continue;
    const socketPath = `${runFolder}/${name}`;
    try {
      const { text } = await askSocket({ socketPath, method: 'GET', path: '/holder' }, signal);
      return holderSchema.safeParse(JSON.parse(text)).data ?? 'unknown';
    } catch (error) {
      signal.throwIfAborted();
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ECONNREFUSED' && code !== 'ENOENT') return 'unknown';
      await files.remove(socketPath);
    }
  }
  return undefined;
}

const oneInstance = 'Stop it first: only one instance per host is supported.';

function heldBy(other: LockHolder | 'unknown'): string {
  if (other === 'unknown')
    return `furiwake is already running on this host, and does not answer (find its PID with pgrep -f furiwake). ${oneInstance}`;
  if (other.command === 'cleanup')
    return `furiwake cleanup is running on this host (PID ${other.pid}). Wait until it has ended.`;
  return `furiwake is already running on this host (PID ${other.pid}, state directory ${other.stateDir}). ${oneInstance}`;
}

/** PID of an instance whose socket was removed from the folder: the kernel still knows the name. */
async function lostHolder(deps: LockDeps, own: string, signal: AbortSignal): Promise<number | undefined> {
  const { runFolder } = deps;
  const isLock = (name: string): boolean =>
    path.dirname(name) === runFolder && name.endsWith('.sock') && name !== `${runFolder}/${own}`;
  return await rootListener(`${runFolder}/*`, isLock, deps, signal);
}

/** PID of a furiwake 0.1.0, which held the abstract unix socket `@furiwake`. */
async function earlierHolder(deps: LockDeps, signal: AbortSignal): Promise<number | undefined> {
  // Node pads the name with NUL bytes, shown as @.
  return await rootListener('@furiwake*', (name) => /^@furiwake@*$/.test(name), deps, signal);
}

/**
 * PID of a process that listens on a unix socket of this network namespace. Any user can hold a name (a path, too, in a mount
 * namespace of its own), so it counts only if the process belongs to root.
 */
async function rootListener(
  pattern: string,
  isName: (name: string) => boolean,
  { exec, files }: Pick<LockDeps, 'exec' | 'files'>,
  signal: AbortSignal,
): Promise<number | undefined> {
  const sockets = await exec.run('ss', ['-Hlxp', 'src', pattern], { signal }).catch((error: unknown) => {
    if (error instanceof ExecError) return undefined; // without ss no release can have run here
    throw error;
  });
  for (const line of sockets?.stdout.split('\n') ?? []) {
    if (!line.trim().split(/\s+/).some(isName)) continue;
    for (const [, pid] of line.matchAll(/pid=(\d+)/g)) {
      const status = await files.read(`/proc/${pid}/status`);
      if (status !== undefined && /^Uid:\s+0\s/m.test(status)) return Number(pid);
    }
  }
  return undefined;
}
