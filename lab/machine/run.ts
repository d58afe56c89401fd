import { spawn } from 'node:child_process';
import { ExecError } from '../../src/ports/exec.ts';

export type RunOptions = {
  readonly signal: AbortSignal;
  /** Ends the command after this long; default 30,000 ms. */
  readonly timeoutMs?: number;
  readonly stdin?: string;
  /** The whole environment; default: this process's. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** The name of the command in errors; default: the command itself. */
  readonly title?: string;
  /** Gets each piece of standard error as it arrives. */
  readonly onStderr?: (text: string) => void;
};

export type Output = { readonly stdout: string; readonly stderr: string };

/**
 * Runs a command to its end. It leads a new process group, so that a deadline or an abort also ends its children
 * (`nsenter` forks), and the terminal's Ctrl-C reaches only this process.
 *
 * @throws {@link ExecError} unless the exit code is 0; the signal's reason when it aborts.
 */
export async function run(argv: readonly string[], options: RunOptions): Promise<Output> {
  const { signal, timeoutMs = 30_000 } = options;
  signal.throwIfAborted();
  const [file = '', ...args] = argv;
  const child = spawn(file, args, { detached: true, stdio: 'pipe', env: options.env ?? process.env, cwd: options.cwd });
  const end = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  const killGroup = (): void => killQuietly(-(child.pid ?? 0));
  end.addEventListener('abort', killGroup);
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text;
    options.onStderr?.(text);
  });
  child.stdin.on('error', () => undefined); // the exit code is more informative than a closed pipe
  child.stdin.end(options.stdin ?? '');
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject).once('close', resolve);
    });
    if (code === 0) return output;
    signal.throwIfAborted();
    const why = end.aborted ? `timed out after ${timeoutMs} ms` : output.stderr || output.stdout;
    throw new ExecError(options.title ?? argv.join(' '), code ?? undefined, why);
  } finally {
    end.removeEventListener('abort', killGroup);
  }
}

/** This process's environment, as a plain record. */
export function environment(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(process.env).filter((pair): pair is [string, string] => pair[1] !== undefined),
  );
}

/** Kills `pid` (negative: its group); no error if it has just ended. Never the whole machine. */
export function killQuietly(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  if (Math.abs(pid) <= 1) return;
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
