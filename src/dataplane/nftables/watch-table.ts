import { keepWatching } from '../../async/keep-watching.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Log } from '../../ports/log.ts';
import { makePacedRepairs } from './paced-repairs.ts';
import type { TableReconciler } from './table-reconciler.ts';
import type { TableSpec } from './table-text.ts';
import { type KernelEvent, watchKernel } from './watch.ts';

/**
 * Calls `repair` after each transaction on the table that is not furiwake's own, until `signal` aborts. `repair` resolves with
 * the difference that the table had; while it finds some, waits grow (`makePacedRepairs`).
 */
export async function watchTable(
  deps: {
    /** Completes "watching … failed" in the log. */
    readonly what: string;
    readonly table: Pick<TableSpec, 'name' | 'family'>;
    readonly generation: TableReconciler<unknown>['generation'];
    readonly repair: () => Promise<string | undefined>;
    readonly exec: Exec;
    readonly clock: Clock;
    readonly log: Log;
  },
  signal: AbortSignal,
): Promise<void> {
  const { what, table, generation, repair, exec } = deps;
  const afterRepair = makePacedRepairs(deps);
  let seen = 0;
  await keepWatching({
    ...deps,
    what: `watching ${what}`,
    watch: () => watchKernel(exec, table, signal),
    react: async (event: KernelEvent) => {
      if (event.kind === 'rules') return;
      if (event.kind === 'table' && event.generation > seen && event.generation <= generation()) {
        seen = event.generation; // furiwake's own transaction
        return;
      }
      const found = await repair();
      if (found !== undefined) await afterRepair(found, signal);
    },
    signal,
  });
}
