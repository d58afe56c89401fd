import type { Clock } from '../../ports/clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import { parseInfo, type ProcessInfo } from './answers.ts';
import { ConfigRefusedError, RuntimeError, unlessUnreachable } from './errors.ts';
import { formatIdentity, type Identity } from './program.ts';
import type { Runtime } from './runtime.ts';
import type { Paths } from './settings.ts';

/** The HAProxy process of one folder: a master and its worker, detached, so that they outlive us. */
export type Daemon = {
  /** What the worker that serves says of itself; `undefined` when none answers. */
  info(signal: AbortSignal): Promise<ProcessInfo | undefined>;
  /** Throws {@link ConfigRefusedError} unless HAProxy accepts `config`. */
  validate(config: string, signal: AbortSignal): Promise<void>;
  /**
   * Hands over to a new worker on the files as they are, which are of another program than the present one, without
   * losing a connection; waits until it answers.
   */
  reload(identity: Identity, signal: AbortSignal): Promise<ProcessInfo>;
  /**
   * The process, come what may: the one that answers; one that lives but does not answer (its socket was removed, it
   * hangs) after a reload; else a new one, on the files as they are. Killing it is the last resort. `onReplaced` is
   * called when another worker than the one that served was brought up, also when waiting for its answer fails then.
   */
  recover(
    identity: Identity,
    onReplaced: () => void,
    signal: AbortSignal,
  ): Promise<{ readonly info: ProcessInfo; readonly isNew: boolean }>;
  /** Ends the process and its connections. No error when none runs. */
  stop(signal: AbortSignal): Promise<void>;
};

const pollMs = 5;
/** A killed worker takes its master with it, a killed master its worker: within some 5 ms. */
const dyingMs = 200;
const takeOverMs = 10_000;
/** A master that has just started or reloaded executes itself anew, and loses a signal that comes meanwhile. */
const repeatMs = 1000;
/** For a reload of a process that does not answer; one with 10,000 rows needs a tenth of it. */
const rescueMs = 1500;
const stopMs = 3000;

export function makeDaemon(deps: {
  readonly paths: Paths;
  readonly exec: Exec;
  readonly files: Files;
  readonly clock: Clock;
  readonly runtime: Runtime;
}): Daemon {
  const { paths, exec, files, clock, runtime } = deps;

  const info: Daemon['info'] = async (signal) => {
    const [answer = ''] = (await runtime.ask(['show info'], signal).catch(unlessUnreachable)) ?? [];
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

  const untilServing = async (identity: Identity, signal: AbortSignal, ms = takeOverMs): Promise<ProcessInfo> => {
    const description = formatIdentity(identity);
    const serving = await until(ms, signal, async () => {
      const now = await info(signal);
      return now?.description === description ? now : undefined;
    });
    if (serving === undefined) throw new RuntimeError(`no HAProxy with the new configuration within ${ms} ms`);
    return serving;
  };

  const signalMaster = async (name: 'SIGUSR2' | 'SIGTERM' | 'SIGKILL'): Promise<boolean> => {
    const pid = await masterPid();
    if (pid === undefined) return false;
    try {
      return process.kill(pid, name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
      throw error;
    }
  };

  const start = async (identity: Identity, onReplaced: () => void, signal: AbortSignal): Promise<ProcessInfo> => {
    const socket = `${paths.masterSocket},mode,600,level,admin`;
    const args = ['-W', '-D', '-f', paths.config, '-p', paths.pid, '-S', socket];
    await refusable(exec.run('haproxy', args, { signal, timeoutMs: takeOverMs }));
    onReplaced();
    const serving = await untilServing(identity, signal);
    // Written by the daemon, possibly after its starter has ended.
    if ((await until(takeOverMs, signal, masterPid)) === undefined)
      throw new RuntimeError(`no process in ${paths.pid}`);
    return serving;
  };

  return {
    info,
    validate: async (config, signal) => {
      await refusable(exec.run('haproxy', ['-c', '-f', config], { signal }));
    },
    reload: async (identity, signal) => {
      const asked = clock.monotonic();
      for (;;) {
        if (!(await signalMaster('SIGUSR2'))) throw new RuntimeError('no HAProxy master to reload');
        const serving = await untilServing(identity, signal, repeatMs).catch(unlessUnreachable);
        if (serving !== undefined) return serving;
        if (clock.monotonic() - asked > takeOverMs)
          throw new RuntimeError(`no worker took over within ${takeOverMs} ms of a reload`);
      }
    },
    recover: async (identity, onReplaced, signal) => {
      const found = await until(dyingMs, signal, async () => {
        return (await info(signal)) ?? ((await masterPid()) === undefined ? 'gone' : undefined);
      });
      if (found !== undefined && found !== 'gone') return { info: found, isNew: false };
      if (found !== 'gone' && (await signalMaster('SIGUSR2'))) {
        const rescued = await untilServing(identity, signal, rescueMs).catch(unlessUnreachable);
        if (rescued !== undefined) {
          onReplaced();
          return { info: rescued, isNew: false };
        }
        await signalMaster('SIGKILL');
      }
      return { info: await start(identity, onReplaced, signal), isNew: true };
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
    const alerts = error.stderr.split('\n').filter((line) => line.startsWith('[ALERT]'));
    throw new ConfigRefusedError((alerts.length > 0 ? alerts : [error.stderr.trim()]).join('\n'), { cause: error });
  }
}
