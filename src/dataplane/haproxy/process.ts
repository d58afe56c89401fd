import { waitAfter } from '../../async/backoff.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Files } from '../../ports/files.ts';
import { parseInfo, type ProcessInfo } from './answers.ts';
import { RuntimeError, type RuntimeApi, type Sockets, unlessUnreachable } from './client.ts';
import { descriptionOf, type ProgramId, pathsIn } from './config.ts';
import { makePace, retry } from './pace.ts';
import type { HaproxyOfFuriwake, Kill, PortOwners } from './port-owners.ts';
import type { Program } from './program.ts';

/** See `HaproxyProcess.recover`. */
export type Recovery = 'serves' | 'busy' | 'started' | 'replaced';

/**
 * The HAProxy process: a master and its worker, detached, so that they outlive furiwake. It is started with the files of `folder`. One
 * of an earlier release, with those of `earlierFolder`, counts as well: it is reloaded, and followed by one of `folder` when it ends.
 */
export type HaproxyProcess = {
  /** Reloads: a new worker runs the program `id` from the files, no connection is lost; waits for its answer. */
  reload(id: ProgramId, signal: AbortSignal): Promise<void>;
  /**
   * One attempt to get a serving process. The action depends on the state of the process:
   *
   *   answers commands                          stays                                               `serves`
   *   answers requests and no commands          stays, it is slow                                   `busy`
   *   runs, its command socket was removed      replaced; its connections continue until they end   `replaced`
   *   does not answer                           throws RuntimeError; after 30 s killed and replaced `started`
   *   none                                      started                                             `started`
   *
   * A process that has exited three times in ten minutes, or cannot be started, is started after growing waits; in between, this
   * throws the error of the last attempt. Throws `ConfigRefusedError`, `PortHeldError`, `ExecError`.
   */
  recover(id: ProgramId, signal: AbortSignal): Promise<Recovery>;
  /** The worker has answered a command. */
  noteAnswer(): void;
  /** Whether neither its master nor a worker is there. False if that cannot be found out. */
  isAbsent(signal: AbortSignal): Promise<boolean>;
  /** How long it has served since its last start, as far as it has answered; `Infinity`: it was not started by this furiwake. */
  servedMs(): number;
  /**
   * Whether it has served for ten seconds; after three deaths in ten minutes for half a minute, and as long as the first and the last
   * of them are apart, so that a process that dies at regular intervals is never steady.
   */
  isSteady(): boolean;
  /** Time until another start may be tried, in ms. */
  retryInMs(): number;
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
const silenceMs = 30_000;
/** A process that died twice may have been killed twice; the start after the third death waits. */
const deathsAtOnce = 2;
const deathWindowMs = 600_000;
/** Without deaths, and after several. */
const [steadyMs, steadyAfterDeathsMs] = [10_000, 30_000];

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
  const starts = makePace(clock);
  const reloads = makePace(clock);
  let startedMs: number | undefined;
  /** Those of the last ten minutes. */
  let deathsMs: readonly number[] = [];
  let isKnownAlive = false;
  /** Time of its last answer. */
  let answeredMs = Number.NEGATIVE_INFINITY;
  let silentSinceMs: number | undefined;

  const noteAnswer = (): void => {
    answeredMs = clock.monotonic();
    silentSinceMs = undefined;
    isKnownAlive = true;
  };

  const info = async (signal: AbortSignal): Promise<ProcessInfo> => {
    const [answer = ''] = await api.ask(['show info'], signal);
    const parsed = parseInfo(answer);
    noteAnswer();
    return parsed;
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

  const untilServing = async (id: ProgramId, ms: number, signal: AbortSignal): Promise<boolean> => {
    const description = descriptionOf(id);
    const serves = await until(ms, signal, async () => {
      const now = await info(signal).catch(unlessUnreachable);
      return now?.description === description ? true : undefined;
    });
    return serves === true;
  };

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

  const servedMs = (): number => (startedMs === undefined ? Infinity : answeredMs - startedMs);
  const recentDeathsMs = (): readonly number[] =>
    (deathsMs = deathsMs.filter((ms) => clock.monotonic() - ms < deathWindowMs));
  const isSteady = (): boolean => {
    const recent = recentDeathsMs();
    const [firstMs = 0] = recent;
    const seriesMs = Math.max(steadyAfterDeathsMs, (recent.at(-1) ?? 0) - firstMs);
    return servedMs() > (recent.length > deathsAtOnce ? seriesMs : steadyMs);
  };

  /** The next start waits from now on, when the process is found dead. */
  const noteDeath = (): void => {
    if (!isKnownAlive) return;
    isKnownAlive = false;
    deathsMs = [...recentDeathsMs(), clock.monotonic()];
    const beyond = deathsMs.length - deathsAtOnce;
    if (beyond > 0) starts.failed('HAProxy exits again and again', waitAfter(beyond, retry));
  };

  const start = async (id: ProgramId, signal: AbortSignal): Promise<void> => {
    noteDeath();
    await starts.attempt(async () => {
      startedMs = clock.monotonic();
      await attemptStart(id, signal);
    }, signal);
  };

  const attemptStart = async (id: ProgramId, signal: AbortSignal): Promise<void> => {
    await portOwners.evict([], signal);
    await files.remove(paths.pid);
    await program.start(signal);
    if (!(await untilServing(id, takeOverMs, signal)))
      throw new RuntimeError('silent', `HAProxy does not answer within ${takeOverMs / 1000} s of its start`);
    // The daemon writes the pid file, possibly after the starting process has ended.
    if ((await until(takeOverMs, signal, () => find(signal))) === undefined)
      throw new RuntimeError('broken', `HAProxy wrote no process id to ${paths.pid}`);
    await files.remove(earlierFolder).catch(() => undefined); // a disk that is read-only: `cleanup` removes it
  };

  const handOver = async (id: ProgramId, signal: AbortSignal): Promise<void> => {
    if ((await find(signal))?.folder === earlierFolder)
      await files.write(pathsIn(earlierFolder).config, (await files.read(paths.config)) ?? '');
    const endMs = clock.monotonic() + takeOverMs;
    while (clock.monotonic() < endMs) {
      if (!(await signalMaster('SIGUSR2', signal))) throw new RuntimeError('absent', 'no HAProxy master to reload');
      if (await untilServing(id, repeatMs, signal)) return;
    }
    throw new RuntimeError('broken', `no new worker within ${takeOverMs / 1000} s of a reload of HAProxy`);
  };

  const look = (signal: AbortSignal): Promise<'serves' | 'silent' | 'gone' | undefined> =>
    until(dyingMs, signal, async () => {
      try {
        await info(signal);
        return 'serves';
      } catch (error) {
        if (!(error instanceof RuntimeError)) throw error;
        if (error.how === 'silent') return 'silent';
        return (await find(signal)) === undefined ? 'gone' : undefined;
      }
    });

  const answersRequests = async (signal: AbortSignal): Promise<boolean> => {
    const answer = await sockets
      .request(paths.monitorSocket, 'GET / HTTP/1.0\r\n\r\n', signal)
      .catch(unlessUnreachable);
    if (answer?.startsWith('HTTP/') !== true) return false;
    silentSinceMs = undefined;
    return true;
  };

  return {
    noteAnswer,
    servedMs,
    isSteady,
    retryInMs: () => starts.inMs(),
    clearPort: (signal) => portOwners.evict(folders, signal),
    reload: async (id, signal) => {
      await reloads.attempt(async () => {
        await portOwners.evict(folders, signal);
        await handOver(id, signal);
      }, signal);
    },
    recover: async (id, signal) => {
      const found = await look(signal);
      if (found === 'serves') return 'serves';
      if (found === 'silent') {
        if (await answersRequests(signal)) return 'busy';
        const nowMs = clock.monotonic();
        silentSinceMs ??= nowMs;
        if (nowMs - silentSinceMs < silenceMs) {
          const words = 'HAProxy answers neither commands nor requests';
          throw new RuntimeError('silent', `${words}; it is replaced after ${silenceMs / 1000} s of silence`);
        }
        await killAll(signal);
      } else if (found === undefined) {
        // A reload does not bind the socket again: the new worker inherits it from the old one.
        if (await signalMaster('SIGUSR1', signal)) {
          isKnownAlive = false; // furiwake ends it
          await start(id, signal);
          return 'replaced';
        }
      }
      await start(id, signal);
      return 'started';
    },
    isAbsent: async (signal) => {
      try {
        await info(signal);
        return false;
      } catch (error) {
        if (!(error instanceof RuntimeError) || error.how !== 'absent') return false;
      }
      const owners = await portOwners.find(signal).catch(() => undefined);
      if (owners === undefined || owners.some(({ haproxy }) => isOurs(haproxy))) return false;
      return (await find(signal)) === undefined;
    },
    stop: async (signal) => {
      isKnownAlive = false;
      const isRunning = await signalMaster('SIGTERM', signal);
      if (isRunning && (await untilGone(signal)) === undefined) await killAll(signal);
      const others = (await portOwners.find(signal)).flatMap(({ haproxy }) => haproxy ?? []);
      for (const { master } of others) kill(master, 'SIGTERM');
      if (others.length > 0) await portOwners.evict([], signal);
      return isRunning || others.length > 0;
    },
  };
}
