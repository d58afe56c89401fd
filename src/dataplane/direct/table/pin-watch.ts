import { repeatEvery } from '../../../async/repeat-every.ts';
import { makeTrouble } from '../../../async/trouble.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Exec } from '../../../ports/exec.ts';
import type { Log } from '../../../ports/log.ts';
import type { Metrics } from '../../../ports/metrics.ts';
import { readElementCounters, type SetCounters } from '../../nftables/element-counters.ts';
import { countElements } from '../../nftables/count-elements.ts';
import { directTable, mostPins } from './ruleset.ts';

const everyMs = 30_000;

/**
 * Until `signal` aborts: counts what the kernel has pinned to nodes, every 30 s, for the metrics, and what it has
 * dropped; reports a map that is full. Outside any turn, because the maps may be long.
 */
export function makePinWatch(deps: {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Whether there is a table. */
  readonly isInPlace: () => boolean;
}): (signal: AbortSignal) => Promise<never> {
  const { exec, clock, log, metrics, isInPlace } = deps;
  const pinned = metrics.gauge(
    'furiwake_direct_pins',
    'Flows, and clients with affinity, that direct keeps at their nodes',
    ['of'],
  );
  metrics.gauge('furiwake_direct_pins_limit', 'The most pins of flows, and of clients').set(mostPins);
  const unpinned = metrics.counter(
    'furiwake_direct_unpinned_packets_total',
    'Packets for which direct had no room to keep the flow, or client, at its node',
  );
  const spoofed = metrics.counter(
    'furiwake_direct_spoofed_packets_total',
    'Packets that direct dropped because no client can have their source',
  );
  const full = makeTrouble({ what: 'keeping the flows of direct at their nodes', log, clock });
  /** Packets in these sets at the last look. Those of the first look may be an earlier process's, whose table stays. */
  const before: { overflow?: number; spoofed?: number } = {};
  const increase = (set: keyof typeof before, counters: SetCounters): number => {
    const now = [...counters.values()].reduce((sum, { packets }) => sum + packets, 0);
    const last = before[set] ?? now;
    const more = now < last ? now : now - last; // a new table counts from 0
    before[set] = now;
    return more;
  };

  const look = async (signal: AbortSignal): Promise<void> => {
    const { pins, clients } = await countElements(exec, directTable, ['pins', 'clients'], signal);
    pinned.set(pins, { of: 'flows' });
    pinned.set(clients, { of: 'clients' });
    const counters = await readElementCounters(exec, directTable, { overflow: 'all', spoofed: 'all' }, signal);
    spoofed.add(increase('spoofed', counters.spoofed));
    const more = increase('overflow', counters.overflow);
    unpinned.add(more);
    const isFull = Math.max(pins, clients) >= mostPins;
    if (more > 0)
      full.failed(
        isFull
          ? `no room for more than ${mostPins}: the others move when nodes come or go`
          : 'many new flows at once: the kernel could not note some of them, which move if nodes come or go before their next packet',
      );
    else if (!isFull) full.over();
  };

  return (signal) =>
    repeatEvery({
      everyMs,
      what: 'counting the flows that direct keeps at their nodes',
      work: async (until) => {
        if (isInPlace()) await look(until);
        else pinned.reset();
      },
      clock,
      log,
      signal,
    });
}
