import { makeBackoff } from '../../async/backoff.ts';
import { makeTrouble } from '../../async/trouble.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Refusals } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { ProgramId } from './config.ts';
import type { HaproxyProcess } from './process.ts';

/**
 * Reloads of HAProxy. Each one leaves a worker that keeps its memory until its last connection ends, and settings of users cause
 * them: after a few, the next ones wait, longer each time, until there is none for half an hour. One reload is for all changes that
 * wait. After a failure the next attempts wait as well. Meanwhile a worker serves with the last program.
 */
export type Reloads = {
  isDue(): boolean;
  reload(program: ProgramId, signal: AbortSignal): Promise<void>;
  failed(error: unknown, isSaid: boolean): void;
  /** Of listeners that need a program that is not loaded yet. */
  refusalsOf(listeners: readonly ListenerKey[]): Refusals<ListenerKey>;
};

const burst = 5;
/** Idle connections end after an hour, by default: about ten old workers at most. */
const pace = { firstMs: 60_000, mostMs: 600_000 };
const calmMs = 1_800_000;

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
  const paced = makeBackoff(pace);
  let dueMs = 0;
  let words = '';
  /** Since the last calm. */
  let reloads = 0;
  let reloadedMs = -Infinity;
  const noteReload = (): void => {
    const nowMs = clock.monotonic();
    if (nowMs - reloadedMs >= calmMs) {
      reloads = 0;
      paced.reset();
    }
    reloadedMs = nowMs;
    if (++reloads < burst) return;
    const waitMs = paced.next();
    dueMs = nowMs + waitMs;
    const at = new Date(clock.now() + waitMs).toISOString().replace(/\.\d+Z$/, 'Z');
    words = `the port needs a reload of HAProxy; after ${reloads} reloads in succession, the next one is at ${at}`;
  };
  return {
    isDue: () => clock.monotonic() >= dueMs,
    reload: async (program, signal) => {
      log.info({}, 'HAProxy runs another program: reloading it');
      await process.reload(program, signal);
      count.add(1);
      trouble.over();
      backoff.reset();
      noteReload();
    },
    failed: (error, isSaid) => {
      words = `HAProxy: ${error instanceof Error ? error.message : String(error)}`;
      if (!isSaid) trouble.failed(error);
      dueMs = clock.monotonic() + backoff.next();
    },
    refusalsOf: (listeners) => new Map(listeners.map((key) => [key, words])),
  };
}
