import type { Assignment } from '../core/addresses/assignment.ts';
import type { NodeName } from '../core/model/names.ts';
import type { StatusInput } from '../core/status/status-input.ts';
import { closedPorts, directTrouble } from '../core/status/direct-trouble.ts';
import type { HostReport } from '../core/traffic/report.ts';
import { listenerKey, type TrafficTable } from '../core/traffic/table.ts';
import type { Requeue } from '../kube/queue.ts';

/** A Service says after this long that its packets are dropped: kube-proxy needs a second or two after the publication. */
export const droppingGraceMs = 10_000;

/**
 * Whether the host drops packets of a Service or leaves them to a stand-in, since when, and when that answer changes by
 * time alone. `sinceMs`: since when by the last call, monotonic ms. It stays while the host has not reported on all
 * listeners of the Service.
 */
export function judgeDropping(
  { addresses }: Assignment,
  table: TrafficTable,
  report: HostReport,
  sinceMs: number | undefined,
  nowMs: number,
): { readonly sinceMs: number | undefined; readonly later: Requeue } & Pick<StatusInput, 'dropping'> {
  const none = { sinceMs: undefined, dropping: undefined, later: undefined };
  const closed = addresses.flatMap((address) =>
    [false, true].map((isStoodIn) => closedPorts(address, table.listeners, report.listeners, isStoodIn)),
  );
  if (closed.every((ports) => ports?.length === 0)) return none;
  const isUnknown = closed.includes(undefined);
  if (isUnknown && sinceMs === undefined) return none; // as for every Service at a start
  const nodes = nodesFor(addresses, table);
  if (nodes.size === 0 && table.nodes.size > 0) return none;
  if (isUnknown) return { sinceMs, dropping: undefined, later: undefined };
  const since = sinceMs ?? nowMs;
  const leftMs = since + droppingGraceMs - nowMs;
  return leftMs > 0
    ? { sinceMs: since, dropping: 'briefly', later: { requeueAfterMs: leftMs } }
    : { sinceMs: since, dropping: directTrouble({ ...report, nodes }), later: undefined };
}

/** The nodes that could get the packets; none: the Service has no endpoints, which is another reason. */
function nodesFor(
  addresses: Assignment['addresses'],
  { listeners, backends, nodes }: TrafficTable,
): TrafficTable['nodes'] {
  const found = new Set<NodeName>();
  for (const { ip, served } of addresses)
    for (const { port, protocol } of served) {
      const listener = listeners.get(listenerKey(ip, port, protocol));
      const backend = listener && backends.get(listener.backend);
      if (backend === undefined) return nodes;
      for (const { node } of backend.servers) found.add(node);
    }
  return new Map(Array.from(nodes).filter(([name]) => found.has(name)));
}

/** The one with the shorter wait. */
export function soonest(one: Requeue, other: Requeue): Requeue {
  if (one?.requeueAfterMs === undefined) return other;
  if (other?.requeueAfterMs === undefined) return one;
  return one.requeueAfterMs <= other.requeueAfterMs ? one : other;
}
