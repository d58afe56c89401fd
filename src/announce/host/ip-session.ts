import type { Clock } from '../../ports/clock.ts';
import { type Conversation, type Exec, ExecError } from '../../ports/exec.ts';

/** An `ip` that stays: an address is added in a millisecond instead of the six that it takes to start one. */
export type IpSession = {
  /**
   * Runs the commands, one a line, in their order; resolves when the kernel has acknowledged all. Throws `ExecError` at
   * the first that it refuses. Never call it concurrently.
   */
  run(commands: readonly string[], signal: AbortSignal): Promise<void>;
  /** Ends it; the next `run` starts another. To be called when an interface came or went: `ip` remembers their numbers. */
  close(): Promise<void>;
};

const answerMs = 30_000;

/** `ip -batch` says nothing on success and ends at the first failure, so an answer to this means that all went well. */
const question = 'link show dev lo';
const answerPattern = /^\d+: lo:/;

/** Ends with `lifetime`. */
export function makeIpSession({
  exec,
  clock,
  lifetime,
}: {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly lifetime: AbortSignal;
}): IpSession {
  let open: { readonly ip: Conversation; readonly lines: AsyncIterator<string> } | undefined;

  const start = (): NonNullable<typeof open> => {
    const ip = exec.converse('ip', ['-oneline', '-batch', '-'], lifetime);
    return { ip, lines: ip.lines[Symbol.asyncIterator]() };
  };

  const close = async (): Promise<void> => {
    const { ip } = open ?? {};
    open = undefined;
    await ip?.[Symbol.asyncDispose]();
  };

  return {
    run: async (commands, signal) => {
      signal.throwIfAborted();
      open ??= start();
      const { ip, lines } = open;
      const within = clock.deadline(answerMs, signal);
      const kill = (): void => void close();
      within.addEventListener('abort', kill, { once: true });
      try {
        await ip.write([...commands, question].map((command) => `${command}\n`).join(''));
        const answer = await lines.next();
        if (answer.done === true || !answerPattern.test(answer.value)) {
          within.throwIfAborted();
          const exitCode = answer.done === true ? await ip.exited : undefined;
          throw new ExecError('ip -batch -', exitCode, ip.takeErrors() || `unexpected answer: ${answer.value}`);
        }
      } catch (error) {
        await close();
        throw error;
      } finally {
        within.removeEventListener('abort', kill);
      }
    },
    close,
  };
}
