import { makeTrouble } from '../../async/trouble.ts';
import { type Listener, usesHaproxy, usesNat } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Host } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import { readFlowClients } from './nat-clients.ts';
import type { StandIns } from './stand-ins.ts';

/** Reads whose the flows of these listeners are. Until that succeeds, packets without a pin are the stand-in's. */
export function makeFlowSorting(deps: {
  readonly standIns: Pick<StandIns, 'sort'>;
  readonly host: Pick<Host, 'clientsOf'>;
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Log;
}): (listeners: readonly Listener[], signal: AbortSignal) => Promise<void> {
  const { standIns, host, exec, clock, log } = deps;
  const trouble = makeTrouble({
    what: 'reading which flows HAProxy and nat hold',
    log,
    monotonic: () => clock.monotonic(),
  });
  return async (listeners, signal) => {
    if (listeners.length === 0) return;
    try {
      const connections = await host.clientsOf(listeners.filter(usesHaproxy), signal);
      const flows = await readFlowClients(exec, listeners.filter(usesNat), signal);
      standIns.sort(
        listeners.map(({ key }) => key),
        new Map([...connections, ...flows]),
      );
      trouble.over();
    } catch (error) {
      signal.throwIfAborted();
      trouble.failed(error); // the next audit tries again
    }
  };
}
