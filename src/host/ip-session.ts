import { longestCallMs } from '../ports/call-times.ts';
import type { Clock } from '../ports/clock.ts';
import { makeLineDialogue } from '../async/line-dialogue.ts';
import { type Exec, ExecError } from '../ports/exec.ts';

/** An `ip` that keeps running: it adds an address in a millisecond, whereas a start takes six. */
export type IpSession = {
  /**
   * Runs the commands, one per line, in order; resolves when the kernel has acknowledged all. Throws `ExecError` at the
   * first refused one. Must not be called concurrently.
   */
  run(commands: readonly string[], signal: AbortSignal): Promise<void>;
  /** Ends it; the next `run` starts another. Call it after creating or deleting an interface: `ip` caches their numbers. */
  close(): Promise<void>;
};

/** `ip -batch` prints nothing on success and ends at the first failure, so an answer to this command means success. */
const question = 'link show dev lo';
const answerPattern = /^\d+: lo:/;

/** Ends with `lifetime`. */
export function makeIpSession(deps: {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly lifetime: AbortSignal;
}): IpSession {
  const { exec, clock, lifetime } = deps;
  const dialogue = makeLineDialogue({
    name: 'ip -batch -',
    start: () => exec.spawn('ip', ['-oneline', '-batch', '-'], lifetime),
    answerMs: longestCallMs,
    clock,
  });
  return {
    run: async (commands, signal) => {
      const text = [...commands, question].map((command) => `${command}\n`).join('');
      await dialogue.ask(
        text,
        async (lines, ip) => {
          const answer = await lines.next();
          if (answer.done !== true && answerPattern.test(answer.value)) return true;
          const exitCode = answer.done === true ? await ip.exited : undefined;
          throw new ExecError('ip -batch -', exitCode, (await ip.takeErrors()) || `unexpected answer: ${answer.value}`);
        },
        signal,
      );
    },
    close: () => dialogue.close(),
  };
}
