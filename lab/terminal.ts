import { spawn } from 'node:child_process';

export type Command = { readonly argv: readonly string[]; readonly env: Readonly<Record<string, string>> };

/** Runs a command on this terminal and returns its exit code, as in a shell. The command gets Ctrl-C. */
export function runHere({ argv, env }: Command): Promise<number> {
  const [file = '', ...args] = argv;
  const terminal = process.env['TERM'];
  const child = spawn(file, args, { stdio: 'inherit', env: terminal === undefined ? env : { ...env, TERM: terminal } });
  return new Promise((resolve, reject) => {
    child.once('error', reject).once('close', (code) => resolve(code ?? 1));
  });
}

/** Shows a growing file until Ctrl-C. */
export function follow(file: string): Promise<number> {
  return runHere({ argv: ['tail', '--lines=+1', '--follow=name', file], env: { PATH: process.env['PATH'] ?? '' } });
}
