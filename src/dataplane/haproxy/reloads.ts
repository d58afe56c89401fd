import { makeBackoff } from '../../async/backoff.ts';
import { makeTrouble } from '../../async/trouble.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Refusals } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { ProgramId } from './config.ts';
import type { OldWorkers } from './old-workers.ts';
import type { HaproxyProcess } from './process.ts';

/**
 * Reloads of HAProxy. Each one leaves a worker that keeps its memory until its last connection ends, and settings of users cause
 * them: after a few, the next ones wait, longer each time, until there is none for half an hour, and while there are many such
 * workers. One reload is for all changes that wait. After a failure the next attempts wait as well. Meanwhile a worker serves with
 * the last program.
 *
 * A growth of the spare backends waits for neither pace nor workers: Services of all users need it, and as their number doubles there
 * are few.
 */
export type Reloads = {
  /** As far as it is known without asking HAProxy. */
  isDue(isGrowth: boolean): boolean;
  /** Counts the replaced workers first. */
  mayReload(isGrowth: boolean, signal: AbortSignal): Promise<boolean>;
  reload(program: ProgramId, isGrowth: boolean, signal: AbortSignal): Promise<void>;
  failed(error: unknown, isSaid: boolean): void;
  /** Whether the last attempt failed. */
  hasFailed(): boolean;
  /** Of listeners that need a program that is not loaded yet. */
  refusalsOf(listeners: readonly ListenerKey[]): Refusals<ListenerKey>;
};

const burst = 5;
const pace = { firstMs: 60_000, mostMs: 600_000 };
/** 20 to 67 MB each, half a gigabyte together (ADR 0026). */
const mostOldWorkers = 8;
const calmMs = 1_800_000;

export function makeReloads({
  process,
  oldWorkers,
  clock,
  log,
  metrics,
}: {
  readonly process: Pick<HaproxyProcess, 'reload'>;
  readonly oldWorkers: Pick<OldWorkers, 'count' | 'known'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}): Reloads {
  const count = metrics.counter('furiwake_reloads_total', 'Reloads of HAProxy');
  const trouble = makeTrouble({ what: 'reloading HAProxy', log, monotonic: () => clock.monotonic() });
  const backoff = makeBackoff({ firstMs: 1000, mostMs: 30_000 });
  const paced = makeBackoff(pace);
  /** After a failure. */
  let failure: { readonly words: string; readonly dueMs: number } | undefined;
  let dueMs = 0;
  let paceWords = '';
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
    paceWords = `after ${reloads} reloads in succession, the next one is at ${at}`;
  };
  const hasRoom = (): boolean => oldWorkers.known() < mostOldWorkers;
  const isInTime = (isGrowth: boolean): boolean => {
    const nowMs = clock.monotonic();
    return nowMs >= (failure?.dueMs ?? 0) && (isGrowth || nowMs >= dueMs);
  };
  const words = (): string => {
    if (failure !== undefined) return failure.words;
    const cause = isInTime(false)
      ? `${oldWorkers.known()} workers that reloads have replaced still have connections, and the next reload is when one of them has ended`
      : paceWords;
    return `the port needs a reload of HAProxy; ${cause}`;
  };
  return {
    isDue: (isGrowth) => isInTime(isGrowth) && (isGrowth || hasRoom()),
    mayReload: async (isGrowth, signal) => {
      if (!isInTime(isGrowth)) return false;
      if (isGrowth) return true;
      await oldWorkers.count(signal);
      return hasRoom();
    },
    hasFailed: () => failure !== undefined,
    reload: async (program, isGrowth, signal) => {
      log.info({}, 'HAProxy runs another program: reloading it');
      await process.reload(program, signal);
      count.add(1);
      trouble.over();
      backoff.reset();
      failure = undefined;
      if (!isGrowth) noteReload();
    },
    failed: (error, isSaid) => {
      if (!isSaid) trouble.failed(error);
      failure = {
        words: `HAProxy: ${error instanceof Error ? error.message : String(error)}`,
        dueMs: clock.monotonic() + backoff.next(),
      };
    },
    refusalsOf: (listeners) => new Map(listeners.map((key) => [key, words()])),
  };
}
