import type { ListenerKey } from '../core/model/names.ts';

/** Flows that began within the last `seconds`, five minutes at most. */
export type RecentFlows = { readonly flows: number; readonly seconds: number };

/** How many flows a listener had had at this time (monotonic ms). */
type Sample = { readonly atMs: number; readonly total: number };

/** `samples`: a minute and more apart, the oldest first, without those that have no new flows. */
type Window = { readonly samples: readonly [Sample, ...Sample[]]; readonly last: Sample };

const [windowMs, apartMs] = [300_000, 60_000];
/** Flows of a shorter time say little. */
const leastMs = 10_000;

/**
 * The recent flows of listeners of which no dataplane knows the open ones. They come from readings of the counters that are made for
 * other reasons: the first answer comes with the second reading, and a window begins at a reading.
 */
export type FlowWindows = {
  /**
   * `total`: of all flows until now. `undefined`: not known, because it is the first reading, the first in five minutes, less than ten
   * seconds after that, or the listener is counted from 0 again.
   */
  note(key: ListenerKey, total: number, nowMs: number): RecentFlows | undefined;
  /** Forgets the listeners that are not in `keys`. */
  keep(keys: { has(key: ListenerKey): boolean }): void;
};

export function makeFlowWindows(): FlowWindows {
  const windows = new Map<ListenerKey, Window>();
  return {
    note: (key, total, nowMs) => {
      const now = { atMs: nowMs, total };
      const known = windows.get(key);
      if (known === undefined || total < known.last.total || nowMs - known.last.atMs > windowMs) {
        windows.set(key, { samples: [now], last: now });
        return undefined;
      }
      const samples = withinWindow(known.samples, now);
      windows.set(key, { samples, last: now });
      const [first] = samples;
      if (nowMs - first.atMs < leastMs) return undefined;
      return { flows: total - first.total, seconds: Math.round(Math.min(windowMs, nowMs - first.atMs) / 1000) };
    },
    keep: (keys) => {
      for (const key of windows.keys()) if (!keys.has(key)) windows.delete(key);
    },
  };
}

function withinWindow(samples: Window['samples'], now: Sample): Window['samples'] {
  const [newest = now] = samples.slice(-1);
  const isNew = now.total > newest.total && now.atMs - newest.atMs >= apartMs;
  const all = isNew ? [...samples, now] : samples;
  const begin = all.findLastIndex(({ atMs }) => atMs <= now.atMs - windowMs);
  const [first = now, ...rest] = all.slice(Math.max(begin, 0));
  return [first, ...rest];
}
