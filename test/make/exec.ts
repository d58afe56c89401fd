import type { Exec, ExecOptions } from '../../src/ports/exec.ts';

/** Programs whose output is the result of `answer` for a command line, and that fail with its exception. */
export function execOf(answer: (command: string, options: ExecOptions) => string): Exec {
  return {
    run: async (file, args, options) => {
      options.signal.throwIfAborted();
      return { stdout: answer([file, ...args].join(' '), options), stderr: '' };
    },
    spawn: () => {
      throw new Error('no such program');
    },
  };
}
