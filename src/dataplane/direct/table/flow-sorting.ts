import { makeTrouble } from '../../../async/trouble.ts';
import { type Listener, usesHaproxy, usesNat } from '../../../core/traffic/table.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Exec } from '../../../ports/exec.ts';
import type { Host } from '../../../ports/host.ts';
import type { Log } from '../../../ports/log.ts';
import { readFlowClients } from '../../nftables/nat-clients.ts';
import type { PassingStates } from '../passing-states.ts';
import type { StandIns } from '../stand-ins.ts';

/** Reads whose the flows of these listeners are. Until that succeeds, packets without a pin are the stand-in's. */
export function makeFlowSorting(deps: {
  readonly standIns: Pick<StandIns, 'sort'>;
  readonly passing: Pick<PassingStates, 'formerNat'>;
  readonly host: Pick<Host, 'clientsOf'>;
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Log;
}): (listeners: readonly Listener[], signal: AbortSignal) => Promise<void> {
  const { standIns, passing, host, exec, clock, log } = deps;
  const trouble = makeTrouble({
    what: 'reading which flows HAProxy and nat hold',
    log,
    monotonic: () => clock.monotonic(),
  });
  return async (listeners, signal) => {
    if (listeners.length === 0) return;
    try {
      const connections = await host.clientsOf(listeners.filter(usesHaproxy), signal);
      const ofNat = listeners.filter((listener) => usesNat(listener) || passing.formerNat().has(listener.key));
      const flows = await readFlowClients(exec, ofNat, signal);
      standIns.sort(
        listeners.map(({ key }) => key),
        new Map(listeners.map(({ key }) => [key, [...(connections.get(key) ?? []), ...(flows.get(key) ?? [])]])),
      );
      trouble.over();
    } catch (error) {
      signal.throwIfAborted();
      trouble.failed(error); // the next audit tries again
    }
  };
}
