import { makeBackoff } from '../../async/backoff.ts';
import type { Clock } from '../../ports/clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import { parseInfo, type ProcessInfo } from './answers.ts';
import type { RuntimeApi, SocketRequest } from './client.ts';
import { descriptionOf, type ProgramId } from './config.ts';
import { ConfigRefusedError, RuntimeError, unlessUnreachable } from './errors.ts';
import type { PortOwners } from './port-owners.ts';
import type { Paths } from './settings.ts';

/** The HAProxy process of one folder: a master and its worker, detached, so that they outlive furiwake. */
export type HaproxyProcess = {
  /** What the worker that serves says of itself; `undefined` when none answers. */
  info(signal: AbortSignal): Promise<ProcessInfo | undefined>;
  /** Throws {@link ConfigRefusedError} unless HAProxy accepts `config`. */
  validate(config: string, signal: AbortSignal): Promise<void>;
  /** Hands over to a new worker that runs `program` from the files, without losing a connection; waits for its answer. */
  reload(program: ProgramId, signal: AbortSignal): Promise<ProcessInfo>;
  /**
   * One attempt to have a process that serves: the one that answers; one whose command socket was removed, after a
   * reload; else a new one. `busy`: its commands are not answered, but its listeners are: it is left alone. A process
   * that answers nothing for 30 s is killed; before that this throws {@link RuntimeError}.
   */
  recover(program: ProgramId, signal: AbortSignal): Promise<Recovered>;
  /** Ends the process and its connections. No error when none runs. */
  stop(signal: AbortSignal): Promise<void>;
};

export type Recovered =
  | { readonly how: 'serves' | 'reloaded' | 'started'; readonly info: ProcessInfo }
  | { readonly how: 'busy' };

const pollMs = 5;
/** A killed worker takes its master with it, a killed master its worker: within some 5 ms. */
const dyingMs = 200;
const takeOverMs = 10_000;
/** A master that has just started or reloaded executes itself anew, and loses a signal that comes meanwhile. */
const repeatMs = 1000;
/** For a reload of a process whose socket was removed; one with 10,000 entries needs a tenth of it. */
const rescueMs = 1500;
const stopMs = 3000;
/** A process that lived longer than this is no part of a crash loop. */
const steadyMs = 10_000;
/** A process that answers neither commands nor requests for so long is replaced. */
const frozenMs = 30_000;

export function makeHaproxyProcess(deps: {
  readonly paths: Paths;
  readonly exec: Exec;
  readonly files: Files;
  readonly clock: Clock;
  readonly api: RuntimeApi;
  /** Asks the monitor listener of the worker. */
  readonly monitor: SocketRequest;
  readonly portOwners: PortOwners;
}): HaproxyProcess {
  const { paths, exec, files, clock, api, monitor, portOwners } = deps;
  /** Monotonic ms; since when the process answers nothing. */
  let silentSinceMs: number | undefined;
  /** The first start is at once; those of a process that exits again and again wait, whoever asks for them. */
  const pace = makeBackoff({ firstMs: 250, mostMs: 30_000 });
  let lastStartMs = Number.NEGATIVE_INFINITY;
  let nextStartMs = Number.NEGATIVE_INFINITY;
  let lastFailure = 'it exited shortly after its start';

  const info: HaproxyProcess['info'] = async (signal) => {
    const [answer = ''] = (await api.ask(['show info'], signal).catch(unlessUnreachable)) ?? [];
    return answer === '' ? undefined : parseInfo(answer);
  };

  /** The master's process id, as long as it is really ours: a pid file outlives its process, ids are used again. */
  const masterPid = async (): Promise<number | undefined> => {
    const pid = Number((await files.read(paths.pid))?.trim());
    if (!Number.isInteger(pid) || pid <= 1) return undefined;
    // Reading may fail with ESRCH, too: it is ending just now.
    const commandLine = await files.read(`/proc/${pid}/cmdline`).catch(() => undefined);
    return commandLine?.split('\0').includes(paths.config) === true ? pid : undefined;
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

  const untilServing = async (program: ProgramId, signal: AbortSignal, ms = takeOverMs): Promise<ProcessInfo> => {
    const description = descriptionOf(program);
    const serving = await until(ms, signal, async () => {
      const now = await info(signal);
      return now?.description === description ? now : undefined;
    });
    if (serving === undefined) throw new RuntimeError(`no HAProxy with the new configuration within ${ms} ms`);
    silentSinceMs = undefined;
    return serving;
  };

  const signalMaster = async (name: 'SIGUSR2' | 'SIGTERM' | 'SIGKILL'): Promise<boolean> => {
    const pid = await masterPid();
    return pid !== undefined && portOwners.signal(pid, name);
  };

  const start = async (program: ProgramId, signal: AbortSignal): Promise<ProcessInfo> => {
    const nowMs = clock.monotonic();
    if (nowMs < nextStartMs) throw new RuntimeError(`HAProxy does not run: ${lastFailure}`);
    if (nowMs - lastStartMs > steadyMs) pace.reset();
    else nextStartMs = nowMs + pace.next();
    lastStartMs = nowMs;
    lastFailure = 'it exited shortly after its start';
    try {
      return await attemptStart(program, signal);
    } catch (error) {
      signal.throwIfAborted();
      lastFailure = error instanceof Error ? error.message : String(error);
      throw error;
    }
  };

  const attemptStart = async (program: ProgramId, signal: AbortSignal): Promise<ProcessInfo> => {
    // With SO_REUSEPORT a second HAProxy could bind the port, too, and the kernel would share connections out to both.
    await portOwners.free(paths.config, signal);
    const socket = `${paths.masterSocket},mode,600,level,admin`;
    const args = ['-W', '-D', '-f', paths.config, '-p', paths.pid, '-S', socket];
    await refusable(exec.run('haproxy', args, { signal, timeoutMs: takeOverMs }));
    const serving = await untilServing(program, signal);
    // Written by the daemon, possibly after its starter has ended.
    if ((await until(takeOverMs, signal, masterPid)) === undefined)
      throw new RuntimeError(`no process in ${paths.pid}`);
    return serving;
  };

  const answersRequests = async (signal: AbortSignal): Promise<boolean> => {
    const answer = await monitor('GET / HTTP/1.0\r\n\r\n', signal).catch(unlessUnreachable);
    return answer?.startsWith('HTTP/') === true;
  };

  return {
    info,
    validate: async (config, signal) => {
      await refusable(exec.run('haproxy', ['-c', '-f', config], { signal }));
    },
    reload: async (program, signal) => {
      const asked = clock.monotonic();
      for (;;) {
        if (!(await signalMaster('SIGUSR2'))) throw new RuntimeError('no HAProxy master to reload');
        const serving = await untilServing(program, signal, repeatMs).catch(unlessUnreachable);
        if (serving !== undefined) return serving;
        if (clock.monotonic() - asked > takeOverMs)
          throw new RuntimeError(`no worker took over within ${takeOverMs} ms of a reload`);
      }
    },
    recover: async (program, signal) => {
      const found = await until(dyingMs, signal, async () => {
        return (await info(signal)) ?? ((await masterPid()) === undefined ? 'gone' : undefined);
      });
      if (found !== undefined && found !== 'gone') {
        silentSinceMs = undefined;
        return { how: 'serves', info: found };
      }
      if (found === undefined) {
        const isSocketThere = await files.exists(paths.workerSocket);
        if (await answersRequests(signal)) {
          silentSinceMs = undefined;
          if (isSocketThere) return { how: 'busy' };
        }
        if (!isSocketThere && (await signalMaster('SIGUSR2'))) {
          const rescued = await untilServing(program, signal, rescueMs).catch(unlessUnreachable);
          if (rescued !== undefined) return { how: 'reloaded', info: rescued };
        }
        const nowMs = clock.monotonic();
        silentSinceMs ??= nowMs;
        if (nowMs - silentSinceMs < frozenMs)
          throw new RuntimeError(
            `HAProxy answers neither commands nor requests; it is replaced after ${frozenMs / 1000} s`,
          );
        await signalMaster('SIGKILL');
      }
      return { how: 'started', info: await start(program, signal) };
    },
    stop: async (signal) => {
      if (!(await signalMaster('SIGTERM'))) return;
      const gone = async (): Promise<true | undefined> => ((await masterPid()) === undefined ? true : undefined);
      if ((await until(stopMs, signal, gone)) === true) return;
      await signalMaster('SIGKILL');
      await until(stopMs, signal, gone);
    },
  };
}

/** Turns a program's refusal into {@link ConfigRefusedError} with HAProxy's own alerts. */
async function refusable<T>(running: Promise<T>): Promise<T> {
  try {
    return await running;
  } catch (error) {
    if (!(error instanceof ExecError) || error.exitCode === undefined) throw error;
    throw new ConfigRefusedError(alertsIn(error.stderr), { cause: error });
  }
}

/**
 * What HAProxy complains of, on one line and without what differs from attempt to attempt: the same failure has the same
 * words. A line of HAProxy's: `[ALERT]    (2172) : config : …`.
 */
export function alertsIn(stderr: string): string {
  const lines = stderr.split('\n').map((line) => line.trim());
  const alerts = lines.filter((line) => line.startsWith('[ALERT]'));
  const words = (alerts.length > 0 ? alerts : lines)
    .map((line) => line.replace(/^\[[A-Z]+\]\s*(?:\(\d+\))?\s*:?\s*/, '').trim())
    .filter((line) => line !== '' && !/^config : Fatal errors found/.test(line));
  return [...new Set(words)].join('; ');
}
