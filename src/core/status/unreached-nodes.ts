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

/**
 * By family, why `direct` never sends packets to some nodes with ready endpoints of the Service, while others get them; as part of a
 * sentence. Of ports that no node gets, the trouble is another one (`closedPorts`).
 */
export function unreachedNodes(
  { addresses }: Pick<Assignment, 'addresses'>,
  { listeners, backends, nodes }: Pick<TrafficTable, 'listeners' | 'backends' | 'nodes'>,
  { listeners: reports, directObstacles }: Pick<HostReport, 'listeners' | 'directObstacles'>,
): DirectTrouble {
  const found: { 4: string | undefined; 6: string | undefined } = { 4: undefined, 6: undefined };
  if (directObstacles.size === 0) return found;
  for (const { ip, served } of addresses) {
    const names = new Set<NodeName>();
    for (const { port, protocol } of served) {
      const key = listenerKey(ip, port, protocol);
      const listener = listeners.get(key);
      if (listener === undefined || !isDirectToOwnNodes(listener) || reports.get(key)?.isForwarding !== true) continue;
      const kinds = listener.needsProof ? lastingWithoutRequest : lasting;
      for (const { node, isDraining } of backends.get(listener.backend)?.servers ?? []) {
        const obstacle = directObstacles.get(node)?.[ip.family];
        const kind = typeof obstacle === 'object' ? 'unequalMtu' : obstacle;
        if (!isDraining && kind !== undefined && kinds.has(kind)) names.add(node);
      }
    }
    if (names.size === 0) continue; // most Services: the nodes of a cluster are many
    const those = new Map(Array.from(nodes).filter(([name, { state }]) => names.has(name) && state !== 'drain'));
    if (those.size > 0)
      found[ip.family] = directTrouble({ nodes: those, health: new Map(), directObstacles })[ip.family];
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
