import { makeBackoff } from '../../async/backoff.ts';
import { makeTrouble } from '../../async/trouble.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Refusals } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { ProgramId } from './config.ts';
import type { HaproxyProcess } from './process.ts';

/** Reloads of HAProxy. After a failure the next attempts wait, longer each time, while a worker serves with the last program. */
export type Reloads = {
  isDue(): boolean;
  reload(program: ProgramId, signal: AbortSignal): Promise<void>;
  failed(error: unknown, isSaid: boolean): void;
  /** Of listeners that need the program that could not be loaded. */
  refusalsOf(listeners: readonly ListenerKey[]): Refusals<ListenerKey>;
};

export function makeReloads({
  process,
  clock,
  log,
  metrics,
}: {
  readonly process: Pick<HaproxyProcess, 'reload'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}): Reloads {
  const count = metrics.counter('furiwake_reloads_total', 'Reloads of HAProxy');
  const trouble = makeTrouble({ what: 'reloading HAProxy', log, monotonic: () => clock.monotonic() });
  const backoff = makeBackoff({ firstMs: 1000, mostMs: 30_000 });
  let dueMs = 0;
  let words = '';
  return {
    isDue: () => clock.monotonic() >= dueMs,
    reload: async (program, signal) => {
      log.info({}, 'HAProxy runs another program: reloading it');
      await process.reload(program, signal);
      count.add(1);
      trouble.over();
      backoff.reset();
    },
    failed: (error, isSaid) => {
      words = `HAProxy: ${error instanceof Error ? error.message : String(error)}`;
      if (!isSaid) trouble.failed(error);
      dueMs = clock.monotonic() + backoff.next();
    },
    refusalsOf: (listeners) => new Map(listeners.map((key) => [key, words])),
  };
}
