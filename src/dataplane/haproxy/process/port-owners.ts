import { makeBackoff } from '../../../async/backoff.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Exec } from '../../../ports/exec.ts';
import type { Files } from '../../../ports/files.ts';
import { listenPort } from '../config/config.ts';

/** A program of another owner listens on the port that HAProxy needs. */
export class PortHeldError extends Error {
  override readonly name = 'PortHeldError';
  readonly code = 'HAPROXY_PORT_HELD';
  constructor({ name, pid }: PortOwner, advice: string) {
    const which = pid === undefined ? name : `${name} (PID ${pid})`;
    super(`port ${listenPort} of 127.0.0.1 is held by ${which}: ${advice}`);
  }
}

/** A HAProxy that furiwake started: the folder of its files and its master process. */
export type HaproxyOfFuriwake = { readonly folder: string; readonly master: number };

/** A process with a socket that listens on HAProxy's port. */
export type PortOwner = {
  readonly name: string;
  /** `undefined`: the kernel does not report the owner of the socket. */
  readonly pid: number | undefined;
  /** With any state directory. */
  readonly haproxy: HaproxyOfFuriwake | undefined;
};

/**
 * The processes that listen on HAProxy's port: found by the port and not by a file, because files may be lost or belong
 * to another state directory.
 */
export type PortOwners = {
  find(signal: AbortSignal): Promise<readonly PortOwner[]>;
  /**
   * `evict`, but asks no program while the port has the same sockets as after the last one that found only the HAProxy of these folders.
   */
  keepClear(except: readonly string[], signal: AbortSignal): Promise<void>;
  /** The masters of all HAProxies with files in one of the folders: also of those that have left the port, and keep their connections. */
  mastersOf(folders: readonly string[], signal: AbortSignal): Promise<readonly number[]>;
  /**
   * Ensures that only the HAProxy of one of the folders `except` listens on the port: with SO_REUSEPORT the kernel would
   * distribute connections to both. Any other HAProxy of furiwake closes its listeners and keeps its connections until
   * they end. Throws {@link PortHeldError} for other programs, for a socket without a known
   * process after two seconds, and for a HAProxy that survives SIGKILL: after ten seconds,
   * then at once until it has ended.
   */
  evict(except: readonly string[], signal: AbortSignal): Promise<void>;
};

/** Sends a signal; false if the process no longer exists. */
export type Kill = (pid: number, name: NodeJS.Signals) => boolean;

export const systemKill: Kill = (pid, name) => {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
};

/** Of 400 sockets that listen. On a busy host the whole file has megabytes. */
const listedBytes = 65_536;
/** TCP_LISTEN */
const listening = '0A';
/** A worker that is to close its listeners does so within milliseconds. */
const poll = { firstMs: 20, mostMs: 500 };
/** A worker closes its listeners within milliseconds, unless it is frozen; then it is killed. */
const evictMs = 5000;
const killMs = 5000;
/** A process that has just been killed no longer shows its sockets as its own, and the kernel still closes them. */
const endingMs = 2000;
/** Sockets on these addresses prevent HAProxy from listening. */
const addresses: ReadonlySet<string> = new Set(['127.0.0.1', '[::1]', '0.0.0.0', '[::]', '*']);

export function makePortOwners(deps: {
  readonly exec: Exec;
  readonly files: Files;
  readonly clock: Clock;
  readonly kill: Kill;
}): PortOwners {
  const { exec, files, clock, kill } = deps;

  /** Processes that SIGKILL did not end: `evict` does not wait for them again. */
  const unkillable = new Set<number>();

  const readProc = async (pid: number, file: string): Promise<string> =>
    (await files.read(`/proc/${pid}/${file}`).catch(() => undefined)) ?? ''; // it has just exited

  const haproxyOf = async (pid: number): Promise<PortOwner['haproxy']> => {
    const folder = folderOf((await readProc(pid, 'cmdline')).split('\0'));
    if (folder === undefined) return undefined;
    // The listening process is a worker; its master runs the same program.
    const parent = Number(/^PPid:\s*(\d+)$/m.exec(await readProc(pid, 'status'))?.[1]);
    const isWorker = folderOf((await readProc(parent, 'cmdline')).split('\0')) === folder;
    return { folder, master: isWorker ? parent : pid };
  };

  const find: PortOwners['find'] = async (signal) => {
    const { stdout } = await exec.run('ss', ['-Hltnp', `sport = :${listenPort}`], { signal });
    const owners = new Map<number | undefined, PortOwner>();
    for (const line of stdout.split('\n')) {
      const [, , , local = ''] = line.trim().split(/\s+/);
      if (!addresses.has(local.slice(0, local.lastIndexOf(':')))) continue;
      const processes = [...line.matchAll(/\("([^"]*)",pid=(\d+)/g)];
      if (processes.length === 0)
        owners.set(undefined, { name: 'an unknown process', pid: undefined, haproxy: undefined });
      for (const [, name = '', digits] of processes) {
        const pid = Number(digits);
        if (!owners.has(pid)) owners.set(pid, { name, pid, haproxy: await haproxyOf(pid) });
      }
    }
    return [...owners.values()];
  };

  /** `isProven`: the port had these sockets before and after `ss` found only HAProxies that may have it. */
  let clear: { readonly pid: number; readonly sockets: string; readonly isProven: boolean } | undefined;
  /** The sockets on the port, as the process sees them; `undefined`: not known. */
  const socketsOf = async (pid: number): Promise<string | undefined> => {
    const read = (file: string): Promise<string | undefined> =>
      files.readStart(`/proc/${pid}/net/${file}`, listedBytes);
    const [four, six] = await Promise.all([read('tcp'), read('tcp6')]).catch(() => [undefined]); // it has just exited
    if (four === undefined) return undefined;
    const found = [four, six ?? ''].map((text) => socketsOn(listenPort, text)); // not every kernel has IPv6
    return found.includes(undefined) ? undefined : found.join('; ');
  };

  /** Resolves with the processes that are left. */
  const evict = async (except: readonly string[], signal: AbortSignal): Promise<readonly PortOwner[]> => {
    const startedMs = clock.monotonic();
    const backoff = makeBackoff(poll);
    const asked = new Set<number>();
    for (;;) {
      const found = await find(signal);
      const others = found.filter(({ haproxy }) => haproxy === undefined || !except.includes(haproxy.folder));
      for (const pid of unkillable) if (!others.some((other) => other.pid === pid)) unkillable.delete(pid);
      if (others.length === 0) return found;
      const waitedMs = clock.monotonic() - startedMs;
      for (const owner of others) {
        const { pid, haproxy } = owner;
        if (pid === undefined && waitedMs < endingMs) continue;
        if (haproxy === undefined || pid === undefined) throw new PortHeldError(owner, 'stop it');
        if (waitedMs > evictMs + killMs) unkillable.add(pid);
        if (unkillable.has(pid)) throw new PortHeldError(owner, 'it survives SIGKILL, so restart this host');
        // A soft stop closes the listeners at once (management guide, section 4); a frozen process cannot.
        if (waitedMs > evictMs) kill(pid, 'SIGKILL');
        else if (!asked.has(haproxy.master)) kill(haproxy.master, 'SIGUSR1');
        asked.add(haproxy.master);
      }
      await clock.sleep(backoff.next(), signal);
    }
  };

  return {
    find,
    evict: async (except, signal) => void (await evict(except, signal)),
    keepClear: async (except, signal) => {
      if (clear?.isProven === true && (await socketsOf(clear.pid)) === clear.sockets) return;
      const before = clear;
      clear = undefined;
      const [owner] = await evict(except, signal);
      const sockets = owner?.pid === undefined ? undefined : await socketsOf(owner.pid);
      if (owner?.pid === undefined || sockets === undefined) return;
      clear = { pid: owner.pid, sockets, isProven: before?.pid === owner.pid && before.sockets === sockets };
    },
    mastersOf: async (folders, signal) => {
      // The master keeps the socket for its commands, whether or not the file is there.
      const { stdout } = await exec.run('ss', ['-Hxlp'], { signal });
      const pids = Array.from(stdout.matchAll(/,pid=(\d+),/g), ([, digits]) => Number(digits));
      const found = await Promise.all([...new Set(pids)].map(haproxyOf));
      const ours = found.filter((haproxy) => haproxy !== undefined && folders.includes(haproxy.folder));
      return [...new Set(ours.flatMap((haproxy) => haproxy?.master ?? []))];
    },
  };
}

/**
 * The inodes of the sockets that listen on a port, from the start of `/proc/net/tcp`, where those that listen are first; `undefined`: it
 * is too short for all of them.
 */
export function socketsOn(port: number, text: string): string | undefined {
  const inodes: string[] = [];
  const portText = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of text.split('\n').slice(1, -1)) {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
    if (state === undefined) continue;
    if (state !== listening) return inodes.toSorted().join(' ');
    if (local.endsWith(portText)) inodes.push(inode);
  }
  return text.length < listedBytes ? inodes.toSorted().join(' ') : undefined;
}

/** The folder of a HAProxy that uses furiwake's files, from its command line; a reload adds arguments to it. */
function folderOf(args: readonly string[]): string | undefined {
  const [, folder] = /^(\/.*)\/haproxy\.cfg$/.exec(args[args.indexOf('-f') + 1] ?? '') ?? [];
  return folder !== undefined && args.includes(`${folder}/haproxy.pid`) ? folder : undefined;
}
