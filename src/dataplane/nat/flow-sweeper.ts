import type { Ip } from '../../core/ip/ip.ts';
import type { BackendId, ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { emptyTable, type Listener, type ListenerAddress, type Listeners } from '../../core/traffic/table.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { endStaleFlows } from './flows.ts';
import type { FlowPlaces } from './program.ts';

/**
 * Keeps flows only where the table sends new ones, or sent them when it accepted them. Remembers what it has seen, so that a
 * changed listener costs one question to the kernel.
 */
export type FlowSweeper = {
  /** The table in force has these listeners. */
  note(listeners: Listeners, places: FlowPlaces): void;
  /** Ends the flows that no longer fit the table. Throws `ExecError` if conntrack cannot be asked; the next call catches up. */
  sweep(signal: AbortSignal): Promise<void>;
  /** Those of `wanted` that may have flows of another Service, which had them before. */
  handedOver(wanted: Listeners): readonly ListenerKey[];
};

export function makeFlowSweeper(deps: {
  readonly exec: Exec;
  readonly log: Log;
  readonly metrics: Metrics;
}): FlowSweeper {
  const ended = deps.metrics.counter(
    'furiwake_nat_flows_ended_total',
    'Flows that nat ended because their Service, nodePort or node was gone, or because they began before their Service',
  );
  let inForce: { readonly listeners: Listeners; readonly places: FlowPlaces } = {
    listeners: emptyTable.listeners,
    places: { members: new Map(), hosted: PersistentMap.empty(), lost: [] },
  };
  /** The same when the last sweep succeeded; `undefined`: the flows of an earlier process are there. */
  let seen: typeof inForce | undefined;
  /** Listeners that a Service has lost since then, as they were. */
  const left = new Map<ListenerKey, Listener>();

  return {
    note: (listeners, places) => {
      for (const key of PersistentMap.changedKeys(inForce.listeners, listeners)) {
        const old = inForce.listeners.get(key);
        if (old !== undefined && old.uid !== listeners.get(key)?.uid) left.set(key, old);
      }
      inForce = { listeners, places };
    },
    sweep: async (signal) => {
      const { listeners, places } = inForce;
      const before = seen?.listeners ?? emptyTable.listeners;
      const changed = new Map<ListenerKey, ListenerAddress>();
      for (const key of PersistentMap.changedKeys(before, listeners)) {
        const [old, now] = [before.get(key), listeners.get(key)];
        const isSame = old?.uid === now?.uid && old?.targetPort === now?.targetPort && old?.backend === now?.backend;
        const listener = now ?? old;
        if (!isSame && listener !== undefined) changed.set(key, listener);
      }
      for (const [key, old] of left) changed.set(key, old); // also one that came and went, or is back: clients may have sent packets
      const moved = seen && movedBackends(seen.places, places);
      const isWhole = moved === undefined || !addListenersOf(moved, listeners, changed);
      if (isWhole || changed.size > 0) {
        const count = await endStaleFlows(deps.exec, { listeners, places, changed, isWhole }, signal);
        ended.add(count);
        if (count > 0) deps.log.debug({ count }, 'flows ended');
      }
      seen = { listeners, places };
      left.clear();
    },
    handedOver: (wanted) => {
      const isOther = (key: ListenerKey): boolean => {
        const [former, now] = [(left.get(key) ?? inForce.listeners.get(key))?.uid, wanted.get(key)?.uid];
        return former !== undefined && now !== undefined && former !== now;
      };
      return [...new Set([...left.keys(), ...PersistentMap.changedKeys(inForce.listeners, wanted)])].filter(isOther);
    },
  };
}

/** The backends whose nodes differ; `undefined`: flows of any backend may be at a node that is lost, or no longer is. */
function movedBackends(before: FlowPlaces, after: FlowPlaces): ReadonlySet<BackendId> | undefined {
  if (before === after) return new Set();
  const textOf = (ips: readonly Ip[] = []): string => ips.map(({ text }) => text).join(' ');
  if (textOf(before.lost) !== textOf(after.lost)) return undefined;
  const ids = new Set([...before.members.keys(), ...after.members.keys()]);
  return new Set([
    ...[...ids].filter((id) => textOf(before.members.get(id)) !== textOf(after.members.get(id))),
    ...PersistentMap.changedKeys(before.hosted, after.hosted),
  ]);
}

/** Beyond so many listeners the kernel is asked for all flows, not for those of each. */
const mostAsked = 64;

/** Adds the listeners that use these backends to `changed`; false: they are too many. */
function addListenersOf(
  backends: ReadonlySet<BackendId>,
  listeners: Listeners,
  changed: Map<ListenerKey, ListenerAddress>,
): boolean {
  if (backends.size === 0) return true;
  const using = [...listeners.values()].filter(({ backend }) => backends.has(backend));
  if (using.length > mostAsked) return false;
  for (const listener of using) changed.set(listener.key, listener);
  return true;
}
