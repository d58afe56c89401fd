import { keepWatching } from '../../async/keep-watching.ts';
import { makePacedRepairs } from '../../async/paced-repairs.ts';
import type { Serial } from '../../async/serial.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Log } from '../../ports/log.ts';
import type { TableReconciler } from './table-reconciler.ts';
import type { TableSpec } from './table-text.ts';
import { type KernelEvent, watchKernel } from './watch.ts';

/**
 * Reports each transaction on the table to `kernel`, which repairs it after each one that is not furiwake's own, until `signal`
 * aborts. While there is something to repair, waits grow (`makePacedRepairs`).
 */
export async function watchTable(
  deps: {
    /** Completes "watching … failed" in the log. */
    readonly what: string;
    readonly table: Pick<TableSpec, 'name' | 'family'>;
    readonly kernel: Pick<TableReconciler<never>, 'saw' | 'doubt' | 'repair'>;
    /** One change at a time. */
    readonly inTurn: Serial;
    /** Like `kernel.repair`, for routing rules; without it they are not furiwake's matter. */
    readonly repairRules?: () => Promise<string | undefined>;
    readonly exec: Exec;
    readonly clock: Clock;
    readonly log: Log;
  },
  signal: AbortSignal,
): Promise<void> {
  const { what, table, kernel, inTurn, repairRules = async () => undefined, exec, clock } = deps;
  const repaired = makePacedRepairs({ ...deps, signal });
  const events = async function* (): AsyncGenerator<KernelEvent, void> {
    try {
      yield* watchKernel(exec, table, signal);
    } finally {
      kernel.doubt(false);
    }
  };
  await keepWatching({
    ...deps,
    what: `watching ${what}`,
    watch: events,
    react: async (event) => {
      if (event.kind === 'table' && kernel.saw(event.generation, event.isGone)) return;
      if (event.kind === 'unsure') kernel.doubt(true);
      const begunMs = clock.monotonic();
      const ofRules = event.kind === 'table' ? undefined : await repairRules();
      const ofTable = event.kind === 'rules' ? undefined : await inTurn(() => kernel.repair(signal));
      const found = ofTable ?? ofRules;
      if (found !== undefined) await clock.sleep(repaired({ found }, clock.monotonic() - begunMs), signal);
    },
    signal,
  });
}
