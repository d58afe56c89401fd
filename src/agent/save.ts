import type { Latch } from '../async/latch.ts';
import { runWhenSet } from '../async/run-when-set.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { TrafficTable } from '../core/traffic/table.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { TableFile } from '../state/table.ts';

/**
 * Saves the table whenever `due` is set, for the next start, until `signal` aborts. A disk that fails delays no Service:
 * it is tried again after growing waits.
 */
export async function runSaves(
  {
    tableFile,
    table,
    due,
    clock,
    log,
  }: {
    readonly tableFile: TableFile;
    readonly table: () => TrafficTable | undefined;
    readonly due: Latch;
    readonly clock: Clock;
    readonly log: Log;
  },
  signal: AbortSignal,
): Promise<void> {
  await runWhenSet({
    what: 'saving the table of listeners',
    due,
    work: async () => {
      const saved = table();
      if (saved !== undefined) await tableFile.write(saved);
    },
    retry: { firstMs: 1_000, mostMs: 60_000 },
    level: 'warn',
    clock,
    log,
    signal,
  });
}

/** `desired` with the listeners that are not removed yet: the next process must know whose connections to end. */
export function tableToSave(desired: TrafficTable, held: TrafficTable['listeners']): TrafficTable {
  const leaving = PersistentMap.changedKeys(desired.listeners, held).flatMap((key) => {
    const listener = held.get(key);
    return listener === undefined || desired.listeners.has(key) ? [] : [[key, listener] as const];
  });
  return { ...desired, listeners: desired.listeners.with(leaving) };
}
