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

/** Whether what keeps packets from the node, and may pass, has lasted: asked of each such node with ready endpoints. */
export type HasLasted = (node: NodeName, family: Family) => boolean;

/** Whether only nodes with endpoints of the Service get its packets, from `direct`. */
export function isDirectToOwnNodes(listener: Pick<Listener, 'dataplane' | 'backend'> | undefined): boolean {
  return listener?.dataplane === 'direct' && !isNodesBackend(listener.backend);
}

type Reported = Pick<HostReport, 'listeners' | 'directObstacles' | 'health'>;
type WantedServers = Pick<TrafficTable, 'listeners' | 'backends' | 'nodes'>;

/**
 * By family, why `direct` sends no packets to some nodes with ready endpoints of the Service, while others get them; as part of a
 * sentence. Of ports that no node gets, the trouble is another one (`closedPorts`).
 */
export function unreachedNodes(
  { addresses }: Pick<Assignment, 'addresses'>,
  table: WantedServers,
  report: Reported,
  hasLasted: HasLasted,
): DirectTrouble {
  const found: { 4: string | undefined; 6: string | undefined } = { 4: undefined, 6: undefined };
  for (const { ip, served } of addresses) {
    const listeners = served.flatMap(
      ({ port, protocol }) => table.listeners.get(listenerKey(ip, port, protocol)) ?? [],
    );
    const those = unreachedOf(listeners, table, report, hasLasted);
    if (those.size > 0) found[ip.family] = troubleOf(those, ip.family, table);
  }
  return found;
}

/** The same by node, of listeners of one family, at this moment: in the words of the condition. */
export function unreachedByNode(
  family: Family,
  listeners: readonly Listener[],
  table: Omit<WantedServers, 'listeners'>,
  report: Reported,
): ReadonlyMap<NodeName, string> {
  const those = unreachedOf(listeners, table, report, () => true);
  return new Map(Array.from(those, (each) => [each[0], troubleOf(new Map([each]), family, table) ?? '']));
}

function unreachedOf(
  listeners: readonly Listener[],
  { backends, nodes }: Omit<WantedServers, 'listeners'>,
  report: Reported,
  hasLasted: HasLasted,
): ReadonlyMap<NodeName, DirectObstacle> {
  const found = new Map<NodeName, DirectObstacle>();
  for (const listener of listeners) {
    const { family } = listener.address;
    if (!isDirectToOwnNodes(listener) || report.listeners.get(listener.key)?.isForwarding !== true) continue;
    for (const { node, isDraining } of backends.get(listener.backend)?.servers ?? []) {
      if (isDraining || found.has(node) || nodes.get(node)?.state === 'drain') continue;
      const obstacle = lastingObstacle(listener, node, report);
      const passing = obstacle === undefined ? passingObstacle(listener, node, report) : undefined;
      if (obstacle !== undefined) found.set(node, obstacle);
      else if (passing !== undefined && hasLasted(node, family)) found.set(node, passing);
    }
  }
  return found;
}

function lastingObstacle(
  { address, needsProof }: Listener,
  node: NodeName,
  { directObstacles }: Reported,
): DirectObstacle | undefined {
  const obstacle = directObstacles.get(node)?.[address.family];
  if (obstacle === undefined) return undefined;
  const kind = typeof obstacle === 'object' ? 'unequalMtu' : obstacle;
  return (needsProof ? lastingWithoutRequest : lasting).has(kind) ? obstacle : undefined;
}

/**
 * Of a node whose port is closed only if it fails the check as well: while kube-proxy restarts, it keeps its packets. A firewall that
 * drops the requests makes it silent; one that is dead has no ready endpoints for long.
 */
function passingObstacle(
  { address: { family }, needsProof }: Listener,
  node: NodeName,
  { directObstacles, health }: Reported,
): DirectObstacle | undefined {
  const obstacle = directObstacles.get(node)?.[family];
  const verdict = health.get(node)?.[family] ?? 'up';
  if (verdict === 'silent' || (verdict === 'unhealthy' && obstacle === 'noAnswer')) return 'noAnswer';
  return needsProof && obstacle === 'unheard' ? obstacle : undefined;
}

function troubleOf(
  obstacles: ReadonlyMap<NodeName, DirectObstacle>,
  family: Family,
  { nodes }: Pick<WantedServers, 'nodes'>,
): string | undefined {
  return directTrouble({
    nodes: new Map(Array.from(nodes).filter(([name]) => obstacles.has(name))),
    health: new Map(),
    directObstacles: new Map(Array.from(obstacles, ([name, obstacle]) => [name, { [family]: obstacle }])),
  })[family];
}

/** What the condition says of them: once if both families have the same trouble. */
export function unreachedVerdicts(unreached: DirectTrouble | undefined): readonly Verdict[] {
  const words = new Set([unreached?.[4], unreached?.[6]].filter((each) => each !== undefined));
  return Array.from(words, (why) => ({
    reason: 'NodesNotReached',
    message: `direct sends no new flows to some nodes with ready endpoints: ${why}`,
  }));
}
