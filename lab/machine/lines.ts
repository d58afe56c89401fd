import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { killQuietly } from './run.ts';

/**
 * Runs a command and yields each line of its standard output as it arrives. The command ends with the iteration, or
 * with `signal`; its standard error is that of this process.
 */
export async function* lines(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): AsyncGenerator<string, void, undefined> {
  signal.throwIfAborted();
  const [file = '', ...args] = argv;
  const child = spawn(file, args, { detached: true, stdio: ['ignore', 'pipe', 'inherit'], env });
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  failed.catch(() => undefined); // reported below
  const kill = (): void => killQuietly(-(child.pid ?? 0));
  signal.addEventListener('abort', kill);
  const reader = createInterface({ input: child.stdout, crlfDelay: Number.POSITIVE_INFINITY });
  try {
    const iterator = reader[Symbol.asyncIterator]();
    for (;;) {
      const next = await Promise.race([iterator.next(), failed]);
      if (next.done === true) break;
      yield next.value;
    }
    signal.throwIfAborted();
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
  }
}
