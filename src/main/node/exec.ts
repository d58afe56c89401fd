import { type ChildProcess, execFile, type ExecFileException, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setImmediate } from 'node:timers/promises';
import { messageOf } from '../../async/error-words.ts';
import { linkTo } from '../../async/abort.ts';
import { type RunningProgram, type Exec, ExecError } from '../../ports/exec.ts';

const maxOutputBytes = 64 * 1024 * 1024;
const noDescriptor = 'too many open files';
const closedInput = 'it reads no more input';

/** Programs of this machine, found through `PATH` and in the `sbin` folders, which the PATH of a service may lack. */
export const systemExec: Exec = {
  run: (file, args, { stdin, signal, timeoutMs = 10_000, env }) =>
    new Promise((resolve, reject) => {
      const options = { maxBuffer: maxOutputBytes, env: environment(env), encoding: 'utf8' } as const;
      const linked = linkTo(signal);
      const child = execFile(
        file,
        args,
        { ...options, signal: linked.signal, timeout: timeoutMs, killSignal: 'SIGKILL' }, // a program may ignore SIGTERM
        (error, stdout, stderr) => {
          linked[Symbol.dispose]();
          if (error === null) return resolve({ stdout, stderr });
          if (signal.aborted) return reject(signal.reason);
          const exitCode = typeof error.code === 'number' ? error.code : undefined;
          // Without the arguments: those of a credential plugin may hold secrets.
          const isMissing = error.code === 'ENOENT';
          const reason = reasonOf(error, timeoutMs);
          const words = exitCode === undefined ? `${reason}\n${stderr}` : stderr || reason;
          reject(new ExecError(file, exitCode, words, { isMissing }));
        },
      );
      child.stdin?.on('error', () => undefined); // the exit of the program is more informative than a closed pipe
      child.stdin?.end(stdin ?? '');
    }),
  spawn: (file, args, signal) => startProgram(file, args, signal),
};

function startProgram(file: string, args: readonly string[], signal: AbortSignal): RunningProgram {
  const linked = linkTo(signal);
  const child: ChildProcess = spawn(file, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: environment(),
    signal: linked.signal,
  });
  let errors = '';
  child.on('error', (error) => {
    errors += reasonOf(error, 0);
  });
  const { stdin, stdout, stderr } = child;
  // Node's own listener stays at the signal when the program does not exist (24.21): 11 kB for each attempt.
  child.once('close', () => linked[Symbol.dispose]());
  if (!stdin || !stdout || !stderr) {
    linked[Symbol.dispose]();
    throw new ExecError(file, undefined, noDescriptor); // Node has made no pipes
  }
  stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-64 * 1024);
  });
  stdin.on('error', () => undefined); // `write` reports it
  const exited = new Promise<number | undefined>((resolve) => {
    child.once('close', (code, by) => {
      if (by !== null && errors === '') errors = endedBy(by); // of the kernel when memory is full, for example
      resolve(code ?? undefined);
    });
  });
  return {
    pid: child.pid ?? 0,
    write: (text) =>
      new Promise((resolve, reject) => {
        stdin.write(text, (error) =>
          error ? reject(new ExecError(file, undefined, errors || closedInput, { cause: error })) : resolve(),
        );
      }),
    lines: createInterface({ input: stdout, crlfDelay: Number.POSITIVE_INFINITY }),
    takeErrors: async () => {
      await setImmediate(); // two pipes that are readable at once are read in any order
      const taken = errors;
      errors = '';
      return taken;
    },
    exited,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

function environment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return {
    ...process.env,
    LC_ALL: 'C',
    PATH: searchPath(process.env['PATH']),
    ...extra,
  };
}

/** An empty part of `PATH` would mean the current directory, whose programs would run as root. */
export function searchPath(path: string | undefined): string {
  const folders = (path ?? '/usr/local/bin:/usr/bin:/bin').split(':').filter((folder) => folder.startsWith('/'));
  return [...new Set([...folders, '/usr/local/sbin', '/usr/sbin', '/sbin'])].join(':');
}

/**
 * The cause for a program that failed without a message. Node's own message of a failed program contains its arguments.
 */
export function reasonOf(error: ExecFileException, timeoutMs: number): string {
  const { killed, signal, code } = error;
  if (killed === true) return `timed out after ${timeoutMs} ms`;
  if (code === 'ENOENT') return 'not found';
  if (code === 'EACCES') return 'permission denied';
  if (code === 'EMFILE' || code === 'ENFILE') return noDescriptor;
  if (code === 'EAGAIN') return 'not started: this host, its cgroup or its user may have no more processes';
  if (code === 'ENOMEM') return 'not started: out of memory';
  if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') return `more than ${maxOutputBytes / 1024 / 1024} MiB of output`;
  if (signal) return endedBy(signal);
  return typeof code === 'number' ? '' : messageOf(error);
}

function endedBy(signal: NodeJS.Signals): string {
  return `ended by ${signal}`;
}
