import type { Clock } from '../ports/clock.ts';
import { type RunningProgram, ExecError } from '../ports/exec.ts';
import { unlessAborted } from './abort.ts';

/**
 * A program that stays open and answers one question at a time, in lines. Starting it for each question would cost
 * more.
 */
export type LineDialogue = {
  /**
   * Writes `text` and resolves with the result of `read` on the lines that follow. Starts the program if it does not
   * run. When `read` throws, the deadline passes or `signal` aborts, the program is killed, because its next output
   * would be unknown. Must not be called concurrently. Throws `ExecError` if the program ends or `read` returns
   * `undefined`.
   */
  ask<T>(
    text: string,
    read: (lines: AsyncIterator<string>, program: RunningProgram) => Promise<T | undefined>,
    signal: AbortSignal,
  ): Promise<T>;
  /** Ends the program; the next `ask` starts another. */
  close(): Promise<void>;
};

/** `name`: the name of the program in errors. `answerMs`: how long one answer may take. */
export function makeLineDialogue(options: {
  readonly name: string;
  readonly start: () => RunningProgram;
  readonly answerMs: number;
  readonly clock: Clock;
}): LineDialogue {
  const { name, start, answerMs, clock } = options;
  let open: { readonly program: RunningProgram; readonly lines: AsyncIterator<string> } | undefined;

  const close = async (): Promise<void> => {
    const program = open?.program;
    open = undefined;
    await program?.[Symbol.asyncDispose]();
  };

  return {
    ask: async (text, read, signal) => {
      signal.throwIfAborted();
      if (open === undefined) {
        const program = start();
        open = { program, lines: program.lines[Symbol.asyncIterator]() };
      }
      const { program, lines } = open;
      using deadline = clock.deadline(answerMs, signal);
      try {
        await unlessAborted(program.write(text), deadline.signal); // it waits while the program does not read
        const answer = await unlessAborted(read(lines, program), deadline.signal);
        if (answer === undefined)
          throw new ExecError(name, undefined, (await program.takeErrors()) || 'unexpected answer');
        return answer;
      } catch (error) {
        await close();
        throw error;
      }
    },
    close,
  };
}
