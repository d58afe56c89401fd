import * as z from 'zod';
import { repeatEvery } from '../../async/repeat-every.ts';
import { makeTrouble } from '../../async/trouble.ts';
import type { Clock } from '../../ports/clock.ts';
import { decodedAnswer, type Exec } from '../../ports/exec.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { countElements } from '../nftables/count-elements.ts';
import { mostClients, natTable } from './ruleset.ts';

const everyMs = 30_000;
const statistics = '/proc/net/stat/nf_conntrack';
const files = ['/proc/sys/net/netfilter/nf_conntrack_count', '/proc/sys/net/netfilter/nf_conntrack_max', statistics];
const number = z.coerce.number().int();

/** The flows that conntrack has, the most that it keeps, and the packets that it has dropped since the host started. */
export type FlowRoom = { readonly flows: number; readonly most: number; readonly dropped: number };

/** Reads the two numbers and the statistics: a header, and a line of hexadecimal numbers for each processor. */
export function parseFlowRoom(text: string): FlowRoom {
  const [flows, most, header = '', ...processors] = text.trimEnd().split('\n');
  const column = header.trim().split(/\s+/).indexOf('drop');
  const drops = processors.map((line) => Number.parseInt(line.trim().split(/\s+/)[column] ?? '0', 16));
  const numberOf = (value: unknown): number => decodedAnswer('perl', number, value);
  return { flows: numberOf(flows), most: numberOf(most), dropped: drops.reduce((sum, each) => sum + each, 0) };
}

/**
 * Until `signal` aborts, every 30 s: counts the flows in conntrack, of all programs of the host, and the clients with affinity, for
 * the metrics, and reports one of them that is full.
 */
export function makeFlowRoomWatch(deps: {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Whether there is a table. */
  readonly isInPlace: () => boolean;
}): (signal: AbortSignal) => Promise<never> {
  const { exec, clock, log, metrics, isInPlace } = deps;
  const flows = metrics.gauge('furiwake_conntrack_flows', 'Flows in conntrack, of all programs of the host');
  const flowsLimit = metrics.gauge('furiwake_conntrack_flows_limit', 'The most flows in conntrack');
  const dropped = metrics.counter('furiwake_conntrack_dropped_packets_total', 'Packets that conntrack had no room for');
  const clients = metrics.gauge('furiwake_nat_clients', 'Clients with affinity that nat keeps at their nodes', [
    'family',
  ]);
  const fullFlows = makeTrouble({ what: 'tracking new flows', log, clock });
  const fullClients = makeTrouble({ what: 'keeping new clients of nat at their nodes', log, clock });
  let before: number | undefined;

  const look = async (signal: AbortSignal): Promise<void> => {
    const { stdout } = await exec.run('perl', ['-ne', 'print', ...files], { signal });
    const now = parseFlowRoom(stdout);
    flows.set(now.flows);
    flowsLimit.set(now.most);
    const more = Math.max(0, now.dropped - (before ?? now.dropped));
    before = now.dropped;
    dropped.add(more);
    if (more > 0 || now.flows >= now.most)
      fullFlows.failed(`conntrack has room for ${now.most} flows: raise net.netfilter.nf_conntrack_max`);
    else fullFlows.over();
    const { clients4, clients6 } = await countElements(exec, natTable, ['clients4', 'clients6'], signal);
    clients.set(clients4, { family: '4' });
    clients.set(clients6, { family: '6' });
    if (Math.max(clients4, clients6) >= mostClients)
      fullClients.failed(`no room for more than ${mostClients}: the others move when nodes come or go`);
    else fullClients.over();
  };

  return (signal) =>
    repeatEvery({
      everyMs,
      what: 'counting the flows in conntrack',
      work: async (until) => {
        if (isInPlace()) await look(until);
      },
      clock,
      log,
      signal,
    });
}
