import { makeTrouble } from '../../../async/trouble.ts';
import type { ListenerKey } from '../../../core/model/names.ts';
import {
  emptyTable,
  type Listener,
  type Listeners,
  type TrafficTable,
  usesHaproxy,
  usesNat,
} from '../../../core/traffic/table.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Exec } from '../../../ports/exec.ts';
import type { Client, Host } from '../../../ports/host.ts';
import type { Log } from '../../../ports/log.ts';
import { readFlowClients } from '../../nftables/nat-clients.ts';
import type { PassingStates } from '../passing-states.ts';
import type { StandIns } from '../stand-ins.ts';

/** Reads which flows stand-ins hold. */
export type FlowSorting = {
  /** Sorts the flows of these listeners of the table. Until that succeeds, packets without a pin are the stand-in's. */
  sort(table: TrafficTable, keys: readonly ListenerKey[], signal: AbortSignal): Promise<void>;
  /** Those of the listeners of `direct` of which no stand-in has a flow; none if that cannot be read. */
  idle(listeners: Listeners, signal: AbortSignal): Promise<Listeners>;
};

type FlowClients = ReadonlyMap<ListenerKey, readonly Client[]>;

export function makeFlowSorting(deps: {
  readonly standIns: Pick<StandIns, 'sort'>;
  readonly passing: Pick<PassingStates, 'formerNat'>;
  readonly host: Pick<Host, 'clientsOf'>;
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Log;
}): FlowSorting {
  const { standIns, passing, host, exec, clock, log } = deps;
  const trouble = makeTrouble({ what: 'reading which flows HAProxy and nat hold', log, clock });

  /** The clients of the listeners that have some; `undefined`: it cannot be read, which is logged. */
  const read = async (listeners: readonly Listener[], signal: AbortSignal): Promise<FlowClients | undefined> => {
    try {
      const connections = await host.clientsOf(listeners.filter(usesHaproxy), signal);
      const ofNat = listeners.filter((listener) => usesNat(listener) || passing.formerNat().has(listener.key));
      const flows = await readFlowClients(exec, ofNat, signal);
      trouble.over();
      const clients = listeners.map(
        ({ key }) => [key, [...(connections.get(key) ?? []), ...(flows.get(key) ?? [])]] as const,
      );
      return new Map(clients.filter(([, each]) => each.length > 0));
    } catch (error) {
      signal.throwIfAborted();
      trouble.failed(error); // the next audit tries again
      return undefined;
    }
  };

  return {
    sort: async (table, keys, signal) => {
      if (keys.length === 0) return;
      const listeners = keys.flatMap((key) => table.listeners.get(key) ?? []);
      const holders = await read(listeners, signal);
      if (holders === undefined) return;
      standIns.sort(
        listeners.map(({ key }) => key),
        holders,
      );
    },
    idle: async (listeners, signal) => {
      const shared = [...listeners.values()].filter((each) => each.dataplane === 'direct');
      const holders = shared.length === 0 ? undefined : await read(shared, signal);
      const idle = holders === undefined ? [] : shared.filter(({ key }) => !holders.has(key));
      return emptyTable.listeners.with(idle.map((each) => [each.key, each]));
    },
  };
}
