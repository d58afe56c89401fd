import { makeBackoff, waitLimits } from '../../../async/backoff.ts';
import { makeTrouble } from '../../../async/trouble.ts';
import { messageOf } from '../../../async/error-words.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Log } from '../../../ports/log.ts';
import type { Metrics } from '../../../ports/metrics.ts';
import type { ProgramId } from '../config/config.ts';
import type { OldWorkers } from './old-workers.ts';
import type { HaproxyProcess } from './process.ts';

/** What a reload is for. */
export type Need = {
  /** More backends with a usual profile, or the program of another release. As the number of backends doubles, these are few. */
  readonly isForAll: boolean;
  /** Those whose Services need it. */
  readonly namespaces: ReadonlySet<string>;
};

/**
 * Reloads of HAProxy. Each one leaves a worker that keeps its memory until its last connection ends, and settings of users cause
 * them. So a reload may have to wait, and meanwhile a worker serves with the last program:
 *
 *   after a failure      for growing times
 *   after five reloads   longer each time, until there is none for half an hour     not if all need it
 *   for old workers      until one has ended: see `untilOneEnds`                           not if all need it
 *
 * One reload is for all changes that wait.
 */
export type Reloads = {
  /** Why a reload for `need` must wait, as far as that is known without asking HAProxy; `undefined`: it need not. */
  wait(need: Need): string | undefined;
  /** Asks for the replaced workers first. */
  mayReload(need: Need, signal: AbortSignal): Promise<boolean>;
  /** `replaced`: the process ID of the worker that serves. */
  reload(program: ProgramId, need: Need, replaced: number, signal: AbortSignal): Promise<void>;
  failed(error: unknown, isSaid: boolean): void;
};

type ReloadWait = { readonly words: string; readonly dueMs: number };

const burst = 5;
/** Each reload leaves a worker behind for as long as its connections last. */
const pace = { firstMs: 60_000, mostMs: 600_000 };
const calmMs = 1_800_000;
/** 20 to 67 MB each: half a gigabyte together, and a gigabyte (ADR 0026). */
const [mostOldWorkers, mostWithFirst] = [8, 16];

export function makeReloads({
  process,
  oldWorkers,
  clock,
  log,
  metrics,
}: {
  readonly process: Pick<HaproxyProcess, 'reload'>;
  readonly oldWorkers: Pick<OldWorkers, 'find' | 'known'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}): Reloads {
  const count = metrics.counter('furiwake_reloads_total', 'Reloads of HAProxy');
  const trouble = makeTrouble({ what: 'reloading HAProxy', log, clock });
  const backoff = makeBackoff(waitLimits.patient);
  const paced = makeBackoff(pace);
  let failure: ReloadWait | undefined;
  let pacing: ReloadWait | undefined;
  /** Since the last calm. */
  let reloads = 0;
  let reloadedMs = -Infinity;
  /** Of old workers, the namespaces that needed the reload. */
  const causes = new Map<number, ReadonlySet<string>>();

  const noteReload = (): void => {
    const nowMs = clock.monotonic();
    if (nowMs - reloadedMs >= calmMs) {
      reloads = 0;
      paced.reset();
    }
    reloadedMs = nowMs;
    if (++reloads < burst) return;
    const waitMs = paced.next();
    const at = new Date(clock.now() + waitMs).toISOString().replace(/\.\d+Z$/, 'Z');
    const words = `after ${reloads} reloads in succession, the next one is at ${at}`;
    pacing = { words, dueMs: nowMs + waitMs };
  };

  /**
   * Why `namespace` must wait for the end of an old worker. It may cause as many as are left of eight: one alone half of them, two
   * three and two. One that has caused none may cause its first beyond these, so that a few namespaces keep no other from reloads.
   */
  const untilOneEnds = (namespace: string): string | undefined => {
    const pids = oldWorkers.known();
    const own = pids.filter((pid) => causes.get(pid)?.has(namespace) === true).length;
    if (own === 0 ? pids.length < mostWithFirst : pids.length + own < mostOldWorkers) return undefined;
    const held = `${pids.length} workers that reloads have replaced still have connections`;
    return `${held}, ${own} of them replaced for namespace ${namespace}; the next reload is when one has ended`;
  };
  const oldWorkerWait = ({ namespaces }: Need): string | undefined => {
    const waits = Array.from(namespaces, untilOneEnds);
    return waits.includes(undefined) ? undefined : waits[0];
  };
  const wait = (need: Need): string | undefined => {
    const isDue = (each: ReloadWait | undefined): boolean => clock.monotonic() >= (each?.dueMs ?? 0);
    if (!isDue(failure)) return failure?.words;
    if (need.isForAll) return undefined;
    return isDue(pacing) ? oldWorkerWait(need) : pacing?.words;
  };

  return {
    wait,
    mayReload: async (need, signal) => {
      if (!need.isForAll && wait({ ...need, namespaces: new Set() }) === undefined) {
        const pids = new Set(await oldWorkers.find(signal));
        for (const pid of causes.keys()) if (!pids.has(pid)) causes.delete(pid);
      }
      return wait(need) === undefined;
    },
    reload: async (program, need, replaced, signal) => {
      log.info({}, 'HAProxy runs another configuration: reloading it');
      await process.reload(program, replaced, signal);
      count.add(1);
      trouble.over();
      backoff.reset();
      failure = undefined;
      if (need.isForAll) return;
      causes.set(replaced, need.namespaces);
      noteReload();
    },
    failed: (error, isSaid) => {
      if (!isSaid) trouble.failed(error);
      const words = `the last one failed: ${messageOf(error)}`;
      failure = { words, dueMs: clock.monotonic() + backoff.next() };
    },
  };
}
