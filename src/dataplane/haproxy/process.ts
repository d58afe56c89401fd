import { makeBackoff } from '../../async/backoff.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Files } from '../../ports/files.ts';
import { parseInfo, type ProcessInfo } from './answers.ts';
import { RuntimeError, type RuntimeApi, type Sockets, unlessUnreachable } from './client.ts';
import { descriptionOf, type ProgramId, pathsIn } from './config.ts';
import type { Kill, PortOwners } from './port-owners.ts';
import type { Program } from './program.ts';

/** The HAProxy process of one folder: a master and its worker, detached, so that they outlive furiwake. */
export type HaproxyProcess = {
  /** Hands over to a new worker that runs the program `id` from the files, without losing a connection; waits for its answer. */
  reload(id: ProgramId, signal: AbortSignal): Promise<void>;
  /**
   * One attempt to have a process that serves. What it finds decides:
   *
   *   answers commands                          left alone                                          `serves`
   *   answers requests and no commands          left alone, it is slow                              `busy`
   *   lives, its command socket was removed     replaced; its connections continue until they end   `started`
   *   answers nothing                           throws RuntimeError; after 30 s killed and replaced `started`
   *   none                                      started                                             `started`
   *
   * A process that exits again and again, or cannot be started, is started after growing waits: within them this throws
   * why the last attempt failed. Throws `ConfigRefusedError`, `PortHeldError`, `ExecError`.
   */
  recover(id: ProgramId, signal: AbortSignal): Promise<'serves' | 'busy' | 'started'>;
  /** The worker has answered a command. */
  noteAnswer(): void;
  /** True when the last start is long enough ago for the process to be no part of a crash loop. */
  isSteady(): boolean;
  /** How long until another start may be tried, in ms. */
  retryInMs(): number;
  /** Throws `PortHeldError` where another program listens on HAProxy's port; ends another HAProxy of furiwake there. */
  clearPort(signal: AbortSignal): Promise<void>;
  /** Ends the process and its connections. No error when none runs. */
  stop(signal: AbortSignal): Promise<void>;
};

const pollMs = 5;
/** A killed worker takes its master with it, a killed master its worker: within some 5 ms. */
const dyingMs = 200;
const takeOverMs = 10_000;
/** A master that has just started or reloaded executes itself anew, and loses a signal that comes meanwhile. */
const repeatMs = 1000;
const stopMs = 3000;
const steadyMs = 10_000;
const silenceMs = 30_000;
/** One that died twice may have been killed twice; after the third start the next ones wait. */
const startsAtOnce = 2;
const retry = { firstMs: 250, mostMs: 10_000 };

export function makeHaproxyProcess(deps: {
  readonly folder: string;
  readonly program: Program;
  readonly files: Files;
  readonly clock: Clock;
  readonly api: RuntimeApi;
  readonly sockets: Sockets;
  readonly portOwners: PortOwners;
  readonly kill: Kill;
}): HaproxyProcess {
  const { folder, program, files, clock, api, sockets, portOwners, kill } = deps;
  const paths = pathsIn(folder);
  const starts = makePace(clock);
  const reloads = makePace(clock);
  let startedMs: number | undefined;
  /** Since the process was steady. */
  let unsteadyStarts = 0;
  /** When it answered last. */
  let answeredMs = Number.NEGATIVE_INFINITY;
  let silentSinceMs: number | undefined;

  const noteAnswer = (): void => {
    answeredMs = clock.monotonic();
    silentSinceMs = undefined;
  };

  const info = async (signal: AbortSignal): Promise<ProcessInfo> => {
    const [answer = ''] = await api.ask(['show info'], signal);
    const parsed = parseInfo(answer);
    noteAnswer();
    return parsed;
  };

  /** The master's process id: a pid file outlives its process, and ids are used again. */
  const masterPid = async (signal: AbortSignal): Promise<number | undefined> => {
    const pid = Number((await files.read(paths.pid))?.trim());
    const isPid = Number.isInteger(pid) && pid > 1;
    // Reading may fail with ESRCH, too: it is ending just now.
    const command = isPid ? await files.read(`/proc/${pid}/cmdline`).catch(() => undefined) : undefined;
    if (command?.split('\0').includes(paths.config) === true) return pid;
    return (await portOwners.find(signal)).find(({ haproxy }) => haproxy?.folder === folder)?.haproxy?.master;
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
    const pid = await masterPid(signal);
    return pid !== undefined && kill(pid, name);
  };

  const untilGone = (signal: AbortSignal): Promise<true | undefined> =>
    until(stopMs, signal, async () => ((await masterPid(signal)) === undefined ? true : undefined));

  /** Both, for a frozen worker does not notice that its master has gone. */
  const killAll = async (signal: AbortSignal): Promise<void> => {
    const owners = (await portOwners.find(signal)).filter(({ haproxy }) => haproxy?.folder === folder);
    await signalMaster('SIGKILL', signal);
    for (const { pid } of owners) if (pid !== undefined) kill(pid, 'SIGKILL');
    await untilGone(signal);
  };

  const isSteady = (): boolean => startedMs === undefined || answeredMs - startedMs > steadyMs;

  const start = async (id: ProgramId, signal: AbortSignal): Promise<void> => {
    if (isSteady()) {
      unsteadyStarts = 0;
      starts.over();
    }
    starts.enter();
    startedMs = clock.monotonic();
    unsteadyStarts++;
    try {
      await attemptStart(id, signal);
    } catch (error) {
      signal.throwIfAborted();
      starts.failed(error instanceof Error ? error.message : String(error));
      throw error;
    }
    if (unsteadyStarts > startsAtOnce) starts.failed('HAProxy exits shortly after its start');
  };

  const attemptStart = async (id: ProgramId, signal: AbortSignal): Promise<void> => {
    await portOwners.evict(undefined, signal);
    await files.remove(paths.pid);
    await program.start(signal);
    if (!(await untilServing(id, takeOverMs, signal)))
      throw new RuntimeError('silent', `HAProxy does not answer within ${takeOverMs / 1000} s of its start`);
    // The daemon writes the pid file, possibly after its starter has ended.
    if ((await until(takeOverMs, signal, () => masterPid(signal))) === undefined)
      throw new RuntimeError('broken', `HAProxy wrote no process id to ${paths.pid}`);
  };

  const handOver = async (id: ProgramId, signal: AbortSignal): Promise<void> => {
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
        return (await masterPid(signal)) === undefined ? 'gone' : undefined;
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
    isSteady,
    retryInMs: () => starts.inMs(),
    clearPort: (signal) => portOwners.evict(folder, signal),
    reload: async (id, signal) => {
      reloads.enter();
      try {
        await portOwners.evict(folder, signal);
        await handOver(id, signal);
        reloads.over();
      } catch (error) {
        signal.throwIfAborted();
        reloads.failed(error instanceof Error ? error.message : String(error));
        throw error;
      }
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
        // A reload does not bind the socket anew: the new worker inherits it from the old one.
        await signalMaster('SIGUSR1', signal);
      }
      await start(id, signal);
      return 'started';
    },
    stop: async (signal) => {
      if (!(await signalMaster('SIGTERM', signal))) return;
      if ((await untilGone(signal)) === undefined) await killAll(signal);
    },
  };
}

/** Growing waits between attempts that fail, whichever caller asks for them. */
function makePace(clock: Clock): {
  /** Throws why the last attempt failed, until the next one is due. */
  enter(): void;
  failed(words: string): void;
  over(): void;
  /** How long until the next attempt is due, in ms. */
  inMs(): number;
} {
  const backoff = makeBackoff(retry);
  let failure: { readonly words: string; readonly untilMs: number } | undefined;
  const inMs = (): number => Math.max(0, (failure?.untilMs ?? 0) - clock.monotonic());
  return {
    inMs,
    enter: () => {
      if (failure !== undefined && inMs() > 0) throw new RuntimeError('absent', failure.words);
    },
    failed: (words) => {
      failure = { words, untilMs: clock.monotonic() + backoff.next() };
    },
    over: () => {
      backoff.reset();
      failure = undefined;
    },
  };
}
