import type { Exec, ExecOptions } from '../../src/ports/exec.ts';

/** Programs whose output is what `answer` gives for a command line, and that fail with what it throws. */
export function execOf(answer: (command: string, options: ExecOptions) => string): Exec {
  return {
    run: async (file, args, options) => {
      options.signal.throwIfAborted();
      return { stdout: answer([file, ...args].join(' '), options), stderr: '' };
    },
    converse: () => {
      throw new Error('nobody to talk to');
    },
  };
}
