import type { Assignment } from '../addresses/assignment.ts';
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

/** Whether `direct`, which sends the packets of this listener to others, never sends any to this node. */
export function isUnreached(
  listener: Pick<Listener, 'key' | 'address' | 'dataplane' | 'backend' | 'needsProof'>,
  node: NodeName,
  { listeners: reports, directObstacles }: Pick<HostReport, 'listeners' | 'directObstacles'>,
): boolean {
  const obstacle = directObstacles.get(node)?.[listener.address.family];
  if (obstacle === undefined || !isDirectToOwnNodes(listener)) return false;
  const kinds = listener.needsProof ? lastingWithoutRequest : lasting;
  return (
    kinds.has(typeof obstacle === 'object' ? 'unequalMtu' : obstacle) &&
    reports.get(listener.key)?.isForwarding === true
  );
}

/**
 * By family, why `direct` never sends packets to some nodes with ready endpoints of the Service, while others get them; as part of a
 * sentence. Of ports that no node gets, the trouble is another one (`closedPorts`).
 */
export function unreachedNodes(
  { addresses }: Pick<Assignment, 'addresses'>,
  { listeners, backends, nodes }: Pick<TrafficTable, 'listeners' | 'backends' | 'nodes'>,
  report: Pick<HostReport, 'listeners' | 'directObstacles'>,
): DirectTrouble {
  const found: { 4: string | undefined; 6: string | undefined } = { 4: undefined, 6: undefined };
  const { directObstacles } = report;
  if (directObstacles.size === 0) return found;
  for (const { ip, served } of addresses) {
    const names = new Set<NodeName>();
    for (const { port, protocol } of served) {
      const listener = listeners.get(listenerKey(ip, port, protocol));
      const servers = (listener && backends.get(listener.backend)?.servers) ?? [];
      for (const { node, isDraining } of servers)
        if (!isDraining && listener && isUnreached(listener, node, report)) names.add(node);
    }
    const those = [...names]
      .toSorted()
      .flatMap((name) => nodes.get(name) ?? [])
      .filter(({ state }) => state !== 'drain');
    if (those.length === 0) continue;
    const unreached = new Map(those.map((node) => [node.name, node]));
    found[ip.family] = directTrouble({ nodes: unreached, health: new Map(), directObstacles })[ip.family];
  }
  return found;
}

/** What the condition says of them: once if both families have the same trouble. */
export function unreachedVerdicts(unreached: DirectTrouble): readonly Verdict[] {
  const words = new Set([unreached[4], unreached[6]].filter((each) => each !== undefined));
  return Array.from(words, (why) => ({
    reason: 'NodesNotReached',
    message: `direct sends nothing to some nodes with ready endpoints: ${why}`,
  }));
}
