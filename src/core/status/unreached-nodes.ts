import type { Assignment } from '../addresses/assignment.ts';
import type { Family } from '../ip/ip.ts';
import type { NodeName } from '../model/names.ts';
import type { Verdict } from '../reasons.ts';
import type { DirectObstacle, HostReport } from '../traffic/report.ts';
import { isNodesBackend, type Listener, listenerKey, type TrafficTable } from '../traffic/table.ts';
import { type DirectTrouble, directTrouble } from './direct-trouble.ts';

type Kind = Extract<DirectObstacle, string> | 'unequalMtu';

/** Obstacles that last until an administrator removes them; others are there for moments, as after a start. */
const lasting: ReadonlySet<Kind> = new Set(['offLink', 'thisHost']);
/** The same, of a Service that does not request `direct`: with the request such nodes are used. */
const lastingWithoutRequest: ReadonlySet<Kind> = new Set([...lasting, 'crossing', 'unequalMtu']);

/** Whether only nodes with endpoints of the Service get its packets, from `direct`. */
export function isDirectToOwnNodes(listener: Pick<Listener, 'dataplane' | 'backend'> | undefined): boolean {
  return listener?.dataplane === 'direct' && !isNodesBackend(listener.backend);
}

type Reported = Pick<HostReport, 'listeners' | 'directObstacles'>;
type WantedServers = Pick<TrafficTable, 'listeners' | 'backends' | 'nodes'>;

/**
 * By family, why `direct` never sends packets to some nodes with ready endpoints of the Service, while others get them; as part of a
 * sentence. Of ports that no node gets, the trouble is another one (`closedPorts`).
 */
export function unreachedNodes(
  { addresses }: Pick<Assignment, 'addresses'>,
  table: WantedServers,
  report: Reported,
): DirectTrouble {
  const found: { 4: string | undefined; 6: string | undefined } = { 4: undefined, 6: undefined };
  if (report.directObstacles.size === 0) return found;
  for (const { ip, served } of addresses) {
    const listeners = served.flatMap(
      ({ port, protocol }) => table.listeners.get(listenerKey(ip, port, protocol)) ?? [],
    );
    const those = unreachedOf(listeners, table, report);
    if (those.size > 0) found[ip.family] = troubleOf(those, ip.family, report);
  }
  return found;
}

/** The same by node, of listeners of one family: why `direct` sends nothing to the node, in the words of the condition. */
export function unreachedByNode(
  family: Family,
  listeners: readonly Listener[],
  table: Omit<WantedServers, 'listeners'>,
  report: Reported,
): ReadonlyMap<NodeName, string> {
  const those = unreachedOf(listeners, table, report);
  return new Map(Array.from(those, ([name, node]) => [name, troubleOf(new Map([[name, node]]), family, report) ?? '']));
}

function unreachedOf(
  listeners: readonly Listener[],
  { backends, nodes }: Omit<WantedServers, 'listeners'>,
  { listeners: reports, directObstacles }: Reported,
): TrafficTable['nodes'] {
  const names = new Set<NodeName>();
  for (const { key, address, dataplane, backend, needsProof } of listeners) {
    if (!isDirectToOwnNodes({ dataplane, backend }) || reports.get(key)?.isForwarding !== true) continue;
    const kinds = needsProof ? lastingWithoutRequest : lasting;
    for (const { node, isDraining } of backends.get(backend)?.servers ?? []) {
      const obstacle = directObstacles.get(node)?.[address.family];
      const kind = typeof obstacle === 'object' ? 'unequalMtu' : obstacle;
      if (!isDraining && kind !== undefined && kinds.has(kind)) names.add(node);
    }
  }
  if (names.size === 0) return new Map(); // most Services: the nodes of a cluster are many
  return new Map(Array.from(nodes).filter(([name, { state }]) => names.has(name) && state !== 'drain'));
}

function troubleOf(
  nodes: TrafficTable['nodes'],
  family: Family,
  { directObstacles }: Pick<Reported, 'directObstacles'>,
): string | undefined {
  return directTrouble({ nodes, health: new Map(), directObstacles })[family];
}

/** What the condition says of them: once if both families have the same trouble. */
export function unreachedVerdicts(unreached: DirectTrouble): readonly Verdict[] {
  const words = new Set([unreached[4], unreached[6]].filter((each) => each !== undefined));
  return Array.from(words, (why) => ({
    reason: 'NodesNotReached',
    message: `direct sends nothing to some nodes with ready endpoints: ${why}`,
  }));
}
