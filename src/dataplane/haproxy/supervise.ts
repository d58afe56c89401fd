import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import { RuntimeError } from './errors.ts';

export type Supervised = {
  /** Resolves when the worker that serves goes, or another one takes over. */
  untilWorkerGoes(signal: AbortSignal): Promise<void>;
  /** Makes sure that a process serves. `idle`: none is wanted. */
  revive(signal: AbortSignal): Promise<'serves' | 'started' | 'idle'>;
  /** Told whenever that becomes known: whether a process serves. */
  tellUp(isUp: boolean): void;
  /** What is due each second. `idle`: no process is wanted. */
  round(signal: AbortSignal): Promise<'serves' | 'idle'>;
};

const roundMs = 1000;
const idleMs = 200;
/** A process that lived longer than this was no part of a crash loop. */
const steadyMs = 10_000;
/** Shorter than that, or the pause itself would pass for a steady life. */
const longestPauseMs = 5000;

/** Until `signal` aborts: brings the process back as soon as it goes, and does the rounds. */
export async function supervise(
  parts: Supervised,
  deps: { readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
): Promise<void> {
  const { clock, log } = deps;

  const reviveOrLog = async (): Promise<'serves' | 'started' | 'idle' | 'failed'> => {
    try {
      const outcome = await parts.revive(signal);
      parts.tellUp(outcome !== 'idle');
      return outcome;
    } catch (error) {
      if (signal.aborted) return 'failed';
      parts.tellUp(false);
      log.error({ err: error }, 'HAProxy does not run, and could not be started');
      return 'failed';
    }
  };

  const guard = async (): Promise<void> => {
    let startedAt = Number.NEGATIVE_INFINITY;
    let crashes = 0;
    while (!signal.aborted) {
      await parts.untilWorkerGoes(signal);
      if (signal.aborted) return;
      parts.tellUp(false);
      const outcome = await reviveOrLog();
      if (outcome === 'serves') continue;
      if (outcome === 'idle') {
        await pause(idleMs);
        continue;
      }
      const now = clock.monotonic();
      crashes = now - startedAt < steadyMs ? crashes + 1 : 0;
      startedAt = now;
      // The first start is at once; pauses come only when it crashes again and again.
      if (crashes > 0) await pause(Math.min(longestPauseMs, 125 * 2 ** crashes));
    }
  };

  const rounds = async (): Promise<void> => {
    while (!signal.aborted) {
      await pause(roundMs);
      if (signal.aborted) return;
      try {
        parts.tellUp((await parts.round(signal)) === 'serves'); // a change may have brought it back meanwhile
      } catch (error) {
        if (signal.aborted) return;
        // A process that hangs keeps its connections open: nobody but us notices.
        if (error instanceof RuntimeError) await reviveOrLog();
        else log.warn({ err: error }, 'a look at HAProxy failed');
      }
    }
  };

  const pause = async (ms: number): Promise<void> => {
    await clock.sleep(ms, signal).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  };

  await Promise.all([guard(), rounds()]);
}
