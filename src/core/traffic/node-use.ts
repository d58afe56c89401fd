import type { Family } from '../ip/ip.ts';
import type { NodeName } from '../model/names.ts';
import type { HostReport } from './report.ts';
import type { TrafficNode } from './table.ts';

/** Which nodes are used, by their health. */
export type NodeUse = {
  /** Whether any node that is not drained is up. If none is, the checks are more likely wrong than all nodes: none is given up. */
  readonly hasUp: { readonly [F in Family]: boolean };
  /** Whether the node keeps what it has. */
  readonly keeps: (node: NodeName, family: Family) => boolean;
  /** Whether it gets new flows. */
  readonly takes: (node: TrafficNode, family: Family) => boolean;
};

/**
 * A node without a verdict has not been checked yet. It counts as up, but gets no new flows while another one was found up: its
 * kube-proxy may not run yet.
 */
export function nodeUse(nodes: Iterable<TrafficNode>, verdicts: HostReport['health']): NodeUse {
  const isUp = (node: NodeName, family: Family): boolean => (verdicts.get(node)?.[family] ?? 'up') === 'up';
  const active = [...nodes].filter(({ state }) => state === 'active');
  const wasFound = (node: NodeName, family: Family): boolean => verdicts.get(node)?.[family] !== undefined;
  const foundUp = (family: Family): boolean => active.some(({ name }) => wasFound(name, family) && isUp(name, family));
  const areOthersUp = { 4: foundUp(4), 6: foundUp(6) };
  const hasUp = { 4: active.some(({ name }) => isUp(name, 4)), 6: active.some(({ name }) => isUp(name, 6)) };
  const keeps = (node: NodeName, family: Family): boolean => isUp(node, family) || !hasUp[family];
  const takes: NodeUse['takes'] = ({ name, state }, family) =>
    state === 'active' && keeps(name, family) && (wasFound(name, family) || !areOthersUp[family]);
  return { hasUp, keeps, takes };
}
