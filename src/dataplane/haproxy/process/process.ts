import type { Clock } from '../../../ports/clock.ts';
import { ExecError } from '../../../ports/exec.ts';
import type { Files } from '../../../ports/files.ts';
import { ProxyDownError } from '../../../ports/proxy.ts';
import { parseInfo, type ProcessInfo } from '../runtime/answers.ts';
import { RuntimeError, type RuntimeApi, type Sockets, unlessUnreachable } from '../runtime/client.ts';
import { descriptionOf, type ProgramId, pathsIn } from '../config/config.ts';
import { parseReloads } from './master-answers.ts';
import { makePace } from './pace.ts';
import type { HaproxyOfFuriwake, Kill, PortOwners } from './port-owners.ts';
import type { Program } from './program.ts';

/** What can be seen of the process at this moment. */
export type Sight =
  /** It answers commands. */
  | 'serves'
  /** It answers requests and no commands: it is slow. */
  | 'busy'
  /** It answers neither. */
  | 'silent'
  /** It runs, but its command socket was removed. */
  | 'unreachable'
  /** There is none. */
  | 'gone';

/**
 * The HAProxy process: a master and its worker, detached, so that they outlive furiwake. It is started with the files of `folder`. One
 * of an earlier release, with those of `earlierFolder`, counts as well: it is reloaded, and followed by one of `folder` when it ends.
 *
 * This is what can be done to it; `life.ts` decides what is done, and when.
 */
export type HaproxyProcess = {
  look(signal: AbortSignal): Promise<Sight>;
  /**
   * Starts one with the program `id` from the files; resolves with its worker when that answers. Throws `ConfigRefusedError`,
   * `PortHeldError`, `ExecError`, {@link ProxyDownError}.
   */
  start(id: ProgramId, signal: AbortSignal): Promise<ProcessInfo>;
  /** After a start: until signals can be sent to its master. */
  untilKnown(signal: AbortSignal): Promise<void>;
  /** Reloads: a new worker runs the program `id` from the files instead of `replaced`, no connection is lost; waits for its answer. */
  reload(id: ProgramId, replaced: number, signal: AbortSignal): Promise<void>;
  /** Accepts no more connections and exits when its own have ended. False: there is none. */
  retire(signal: AbortSignal): Promise<boolean>;
  /** At once, with its connections. */
  kill(signal: AbortSignal): Promise<void>;
  /** Resolves when the worker exits; at once if there is none. */
  untilExit(signal: AbortSignal): Promise<void>;
  /** Whether its worker, which may be too slow for commands, answers a request. */
  answersRequests(signal: AbortSignal): Promise<boolean>;
  /** Whether neither its master nor a worker is there. False if that cannot be found out. */
  isAbsent(signal: AbortSignal): Promise<boolean>;
  /** Throws `PortHeldError` if another program listens on HAProxy's port; ends another HAProxy of furiwake there. */
  clearPort(signal: AbortSignal): Promise<void>;
  /**
   * Ends the process and its connections, and any other HAProxy of furiwake on the port, which nothing else would end.
   * Resolves with whether there was one. Throws `PortHeldError` if one survives SIGKILL.
   */
  stop(signal: AbortSignal): Promise<boolean>;
};

const pollMs = 5;
/** When a worker is killed, its master exits, and vice versa, within about 5 ms. */
const dyingMs = 200;
const takeOverMs = 10_000;
/** A master that has just started or reloaded executes itself again, and loses signals in that time. */
const repeatMs = 1000;
const stopMs = 3000;

export function makeHaproxyProcess(deps: {
  readonly folder: string;
  readonly earlierFolder: string;
  readonly program: Program;
  readonly files: Files;
  readonly clock: Clock;
  readonly api: RuntimeApi;
  readonly sockets: Sockets;
  readonly portOwners: PortOwners;
  readonly kill: Kill;
}): HaproxyProcess {
  const { folder, earlierFolder, program, files, clock, api, sockets, portOwners, kill } = deps;
  const paths = pathsIn(folder);
  const folders = [folder, earlierFolder];
  const isOurs = (haproxy: HaproxyOfFuriwake | undefined): boolean =>
    haproxy !== undefined && folders.includes(haproxy.folder);
  const reloads = makePace(clock);

  const info = async (signal: AbortSignal): Promise<ProcessInfo> => {
    const [answer = ''] = await api.ask(['show info'], signal);
    return parseInfo(answer);
  };

  /** A pid file outlives its process, and IDs are reused. */
  const findByPidFile = async (each: string): Promise<HaproxyOfFuriwake | undefined> => {
    const { pid, config } = pathsIn(each);
    const master = Number((await files.read(pid).catch(() => undefined))?.trim()); // unreadable: the port has the owner
    const isPid = Number.isInteger(master) && master > 1;
    // Reading may also fail with ESRCH: the process has just exited.
    const command = isPid ? await files.read(`/proc/${master}/cmdline`).catch(() => undefined) : undefined;
    return command?.split('\0').includes(config) === true ? { folder: each, master } : undefined;
  };

  const find = async (signal: AbortSignal): Promise<HaproxyOfFuriwake | undefined> => {
    const found = (await findByPidFile(folder)) ?? (await findByPidFile(earlierFolder));
    if (found !== undefined) return found;
    return (await portOwners.find(signal)).find(({ haproxy }) => isOurs(haproxy))?.haproxy;
  };

  const until = async <T>(
    ms: number,
    signal: AbortSignal,
    attempt: () => Promise<T | undefined>,
  ): Promise<T | undefined> => {
    const end = clock.monotonic() + ms;
    for (;;) {
      const result = await attempt();
      if (result !== undefined || clock.monotonic() > end) return result;
      await clock.sleep(pollMs, signal);
    }
  };

  const untilServing = (
    { id, replaced }: { readonly id: ProgramId; readonly replaced?: number },
    ms: number,
    signal: AbortSignal,
  ): Promise<ProcessInfo | undefined> =>
    until(ms, signal, async () => {
      const now = await info(signal).catch(unlessUnreachable);
      return now?.description === descriptionOf(id) && now.pid !== replaced ? now : undefined;
    });

  const signalMaster = async (name: NodeJS.Signals, signal: AbortSignal): Promise<boolean> => {
    const found = await find(signal);
    return found !== undefined && kill(found.master, name);
  };

  const untilGone = (signal: AbortSignal): Promise<true | undefined> =>
    until(stopMs, signal, async () => ((await find(signal)) === undefined ? true : undefined));

  /** Both, because a frozen worker does not notice the end of its master. */
  const killAll = async (signal: AbortSignal): Promise<void> => {
    const owners = (await portOwners.find(signal)).filter(({ haproxy }) => isOurs(haproxy));
    await signalMaster('SIGKILL', signal);
    for (const { pid } of owners) if (pid !== undefined) kill(pid, 'SIGKILL');
    await untilGone(signal);
  };

  /** How often the master has reloaded; `undefined`: it does not answer, as while it reloads. */
  const reloadsOfMaster = async (signal: AbortSignal): Promise<number | undefined> => {
    const { masterSocket } = pathsIn((await find(signal))?.folder ?? folder);
    const answer = await sockets.request(masterSocket, 'show proc\nquit\n', signal).catch(unlessUnreachable);
    return parseReloads(answer ?? '');
  };

  const handOver = async (id: ProgramId, replaced: number, signal: AbortSignal): Promise<void> => {
    if ((await find(signal))?.folder === earlierFolder)
      await files.write(pathsIn(earlierFolder).config, (await files.read(paths.config)) ?? '');
    const endMs = clock.monotonic() + takeOverMs;
    let before: number | undefined;
    let isLost = true;
    while (clock.monotonic() < endMs) {
      if (isLost) {
        before = await until(repeatMs, signal, () => reloadsOfMaster(signal)); // until then it loses signals
        if (!(await signalMaster('SIGUSR2', signal))) throw new RuntimeError('absent', 'no HAProxy master to reload');
      }
      if ((await untilServing({ id, replaced }, repeatMs, signal)) !== undefined) return;
      // A second signal that is not lost makes another worker, which looks like that of another program.
      isLost = before === undefined || before === (await reloadsOfMaster(signal));
    }
    throw new RuntimeError('broken', `no new worker within ${takeOverMs / 1000} s of a reload of HAProxy`);
  };

  const answersRequests = async (signal: AbortSignal): Promise<boolean> => {
    const answer = await sockets
      .request(paths.monitorSocket, 'GET / HTTP/1.0\r\n\r\n', signal)
      .catch(unlessUnreachable);
    return answer?.startsWith('HTTP/') === true;
  };

  return {
    look: async (signal) => {
      const seen = await until(dyingMs, signal, async () => {
        try {
          await info(signal);
          return 'serves';
        } catch (error) {
          if (!(error instanceof RuntimeError)) throw error;
          if (error.how === 'silent') return (await answersRequests(signal)) ? 'busy' : 'silent';
          return (await find(signal)) === undefined ? 'gone' : undefined;
        }
      });
      return seen ?? 'unreachable';
    },
    start: async (id, signal) => {
      await portOwners.evict([], signal);
      await files.remove(paths.pid);
      // Of a program that did not end in time, the worker may serve all the same.
      const late = await program.start(signal).catch(unlessExited);
      const started = await untilServing({ id }, late === undefined ? takeOverMs : 0, signal);
      if (started !== undefined) return started;
      throw late ?? new ProxyDownError(`HAProxy does not answer within ${takeOverMs / 1000} s of its start`);
    },
    untilKnown: async (signal) => {
      // The daemon writes the pid file, possibly after the starting process has ended.
      if ((await until(takeOverMs, signal, () => find(signal))) === undefined)
        throw new RuntimeError('broken', `HAProxy wrote no process id to ${paths.pid}`);
      await files.remove(earlierFolder).catch(() => undefined); // a disk that is read-only: `cleanup` removes it
    },
    reload: async (id, replaced, signal) => {
      await reloads.attempt(async () => {
        await portOwners.evict(folders, signal);
        await handOver(id, replaced, signal);
      }, signal);
    },
    retire: (signal) => signalMaster('SIGUSR1', signal),
    kill: killAll,
    untilExit: (signal) => sockets.untilClosed(paths.workerSocket, signal),
    isAbsent: async (signal) => {
      try {
        await info(signal);
        return false;
      } catch (error) {
        if (!(error instanceof RuntimeError) || error.how !== 'absent') return false;
      }
      const owners = await portOwners.find(signal).catch(() => undefined);
      if (owners === undefined || owners.some(({ haproxy }) => isOurs(haproxy))) return false;
      return (await until(dyingMs, signal, async () => (await find(signal)) === undefined || undefined)) === true;
    },
    answersRequests,
    clearPort: (signal) => portOwners.keepClear(folders, signal),
    stop: async (signal) => {
      const isRunning = await signalMaster('SIGTERM', signal);
      if (isRunning && (await untilGone(signal)) === undefined) await killAll(signal);
      const others = (await portOwners.find(signal)).flatMap(({ haproxy }) => haproxy ?? []);
      for (const { master } of others) kill(master, 'SIGTERM');
      if (others.length > 0) await portOwners.evict([], signal);
      const retired = await portOwners.mastersOf(folders, signal);
      for (const master of retired) kill(master, 'SIGTERM');
      return isRunning || others.length + retired.length > 0;
    },
  };
}

/** For `catch`: returns the error of a program that could not be waited for. Throws any other, which is an answer. */
function unlessExited(error: unknown): ExecError {
  if (error instanceof ExecError && error.exitCode === undefined && !error.isMissing) return error;
  throw error;
}
