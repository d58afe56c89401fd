import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { ListenerAddress, TrafficTable } from '../../core/traffic/table.ts';
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
  /** Call it after the table is in force. Throws `ExecError` if conntrack cannot be asked; the next call catches up. */
  keep(listeners: TrafficTable['listeners'], places: FlowPlaces, signal: AbortSignal): Promise<void>;
};

export function makeFlowKeeper(deps: {
  readonly exec: Exec;
  readonly log: Log;
  readonly metrics: Metrics;
}): FlowKeeper {
  const ended = deps.metrics.counter(
    'furiwake_nat_flows_ended_total',
    'Flows that nat ended because their Service, nodePort or node was gone, or because they began before their Service',
  );
  /** `undefined`: the flows of an earlier process are there. */
  let seen: { readonly listeners: TrafficTable['listeners']; readonly places: FlowPlaces } | undefined;

  return {
    keep: async (listeners, places, signal) => {
      const before = seen?.listeners ?? PersistentMap.empty();
      const changed = new Map<ListenerKey, ListenerAddress>();
      for (const key of PersistentMap.changedKeys(before, listeners)) {
        const [old, now] = [before.get(key), listeners.get(key)];
        const isSame =
          old?.service === now?.service && old?.targetPort === now?.targetPort && old?.backend === now?.backend;
        const listener = now ?? old;
        if (!isSame && listener !== undefined) changed.set(key, listener);
      }
      const isWhole = seen?.places !== places;
      if (isWhole || changed.size > 0) {
        const count = await endStaleFlows(deps.exec, { listeners, places, changed, isWhole }, signal);
        ended.add(count);
        if (count > 0) deps.log.debug({ count }, 'flows ended');
      }
      seen = { listeners, places };
    },
  };
}
