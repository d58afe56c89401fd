import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { ListenerAddress, TrafficTable } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { endStaleFlows } from './flows.ts';
import type { FlowPlaces } from './program.ts';

/**
 * Keeps flows only where the table sends new ones, or sent them when it accepted them. Remembers what it has seen, so that a
 * changed listener costs one question to the kernel.
 */
export type FlowKeeper = {
  /**
   * Call it after the table is in force. Resolves with the monotonic time of the next call, ms, if there are new listeners.
   * Throws `ExecError` if conntrack cannot be asked; the next call catches up.
   */
  keep(listeners: TrafficTable['listeners'], places: FlowPlaces, signal: AbortSignal): Promise<number | undefined>;
};

/** A listener is new for this time: kube-proxy opens its nodePort at its next sync. */
const youthMs = 10_000;
const everyMs = 1_000;

export function makeFlowKeeper(deps: {
  readonly exec: Exec;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly log: Log;
  readonly metrics: Metrics;
}): FlowKeeper {
  const ended = deps.metrics.counter(
    'furiwake_nat_flows_ended_total',
    'Flows that nat ended because their Service, nodePort or node was gone, or because they began before their Service',
  );
  /** `undefined`: the flows of an earlier process are there. */
  let seen: { readonly listeners: TrafficTable['listeners']; readonly places: FlowPlaces } | undefined;
  /** Since when, monotonic ms. Those of an earlier process are not new. */
  const young = new Map<ListenerKey, number>();
  let sweptMs = -Infinity;

  return {
    keep: async (listeners, places, signal) => {
      const nowMs = deps.clock.monotonic();
      const before = seen?.listeners ?? PersistentMap.empty();
      const changed = new Map<ListenerKey, ListenerAddress>();
      for (const key of PersistentMap.changedKeys(before, listeners)) {
        const [old, now] = [before.get(key), listeners.get(key)];
        const isSame =
          old?.service === now?.service && old?.targetPort === now?.targetPort && old?.backend === now?.backend;
        const listener = now ?? old;
        if (isSame || listener === undefined) continue;
        changed.set(key, listener);
        if (seen !== undefined && now !== undefined) young.set(key, nowMs);
      }
      for (const [key, sinceMs] of young) {
        const listener = listeners.get(key);
        if (listener === undefined || nowMs - sinceMs >= youthMs + everyMs) young.delete(key);
        else if (nowMs - sweptMs >= everyMs) changed.set(key, listener);
      }
      const isWhole = seen?.places !== places;
      if (isWhole || changed.size > 0) {
        const isYoung = new Set([...changed.keys()].filter((key) => young.has(key)));
        const sweep = { listeners, places, changed, young: isYoung, isWhole };
        const count = await endStaleFlows(deps.exec, sweep, signal);
        ended.add(count);
        if (count > 0) deps.log.debug({ count }, 'flows ended');
        sweptMs = nowMs;
      }
      seen = { listeners, places };
      return young.size === 0 ? undefined : sweptMs + everyMs;
    },
  };
}
