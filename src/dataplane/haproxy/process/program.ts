import { type Exec, ExecError } from '../../../ports/exec.ts';
import type { Paths } from '../config/config.ts';

/** HAProxy refused a configuration, which is not in force. `words`: HAProxy's own message, on one line. */
export class ConfigRefusedError extends Error {
  override readonly name = 'ConfigRefusedError';
  readonly code = 'HAPROXY_CONFIG_REFUSED';
  readonly words: string;
  constructor(words: string, options?: ErrorOptions) {
    super(`HAProxy rejected the configuration: ${words}`, options);
    this.words = words;
  }
}

/**
 * The program `haproxy`. Both methods throw {@link ConfigRefusedError} with its message, or `ExecError` if it cannot
 * run.
 */
export type Program = {
  /** Checks a configuration without using it. */
  validate(file: string, signal: AbortSignal): Promise<void>;
  /** Starts it with the files of the folder as master and worker, detached, so that they outlive furiwake. */
  start(signal: AbortSignal): Promise<void>;
};

const startMs = 10_000;

export function makeProgram({ paths, exec }: { readonly paths: Paths; readonly exec: Pick<Exec, 'run'> }): Program {
  return {
    validate: (file, signal) => refusable(exec.run('haproxy', ['-c', '-f', file], { signal })),
    start: (signal) => {
      const masterSocket = `${paths.masterSocket},mode,600,level,admin`;
      const args = ['-W', '-D', '-f', paths.config, '-p', paths.pid, '-S', masterSocket];
      return refusable(exec.run('haproxy', args, { signal, timeoutMs: startMs }));
    },
  };
}

async function refusable(running: Promise<unknown>): Promise<void> {
  try {
    await running;
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    const words = alertsIn(error.stderr);
    if (error.exitCode !== undefined && hasAlert(error.stderr)) throw new ConfigRefusedError(words, { cause: error });
    // Without an alert it is not HAProxy that speaks: a missing library, a limit, or a process that was killed.
    throw new ExecError(error.command, error.exitCode, words, { isMissing: error.isMissing, cause: error });
  }
}

const alert = '[ALERT]';

function hasAlert(stderr: string): boolean {
  return stderr.split('\n').some((line) => line.trim().startsWith(alert));
}

/**
 * HAProxy's error, on one line and without the parts that differ between attempts, so that the same failure has the
 * same message. A line of HAProxy: `[ALERT]    (2172) : config : …`.
 */
export function alertsIn(stderr: string): string {
  const lines = stderr.split('\n').map((line) => line.trim());
  const alerts = lines.filter((line) => line.startsWith(alert));
  const others = lines.filter((line) => line !== '' && !/^\[(NOTICE|WARNING)\]/.test(line));
  const words = ([alerts, others].find((some) => some.length > 0) ?? lines)
    .map((line) => line.replace(/^\[[A-Z]+\]\s*(?:\(\d+\))?\s*:?\s*/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('config : Fatal errors found'));
  return [...new Set(words)].join('; ');
}
