import { excludeNodeLabel } from '../model/contract.ts';
import type { NodeName } from '../model/names.ts';
import type { Node } from '../model/node.ts';
import type { HostReport } from '../traffic/report.ts';
import type { TrafficTable } from '../traffic/table.ts';
import { someOf } from './sentences.ts';

/** What a node does with new connections; of a dual-stack node, the better of both families. */
export type NodeState = (typeof order)[number];

const order = ['up', 'unhealthy', 'silent', 'drained', 'excluded', 'without address'] as const;

export type NodeStatesInput = {
  /** All nodes of the cluster. */
  readonly nodes: ReadonlyMap<NodeName, Node>;
  readonly table: Pick<TrafficTable, 'nodes'>;
  readonly health: HostReport['health'];
};

export function nodeStates({ nodes, table, health }: NodeStatesInput): ReadonlyMap<NodeName, NodeState> {
  const stateOf = ({ name, excluded }: Node): NodeState => {
    const planned = table.nodes.get(name);
    if (planned === undefined) return excluded === undefined ? 'without address' : 'excluded';
    if (planned.state === 'drain') return 'drained';
    const found = new Set<NodeState>(planned.addresses.map(({ family }) => health.get(name)?.[family] ?? 'up'));
    return order.find((state) => found.has(state)) ?? 'up';
  };
  return new Map(Array.from(nodes.values(), (node) => [node.name, stateOf(node)]));
}

/** True if the node takes new connections. */
export function takesConnections(state: NodeState): boolean {
  return state === 'up';
}

/** How many nodes are in each state, in the order of a sentence; without states that no node has. */
export function countNodes(states: ReadonlyMap<NodeName, NodeState>): Readonly<Partial<Record<NodeState, number>>> {
  const all = [...states.values()];
  return Object.fromEntries(
    order.map((state) => [state, all.filter((each) => each === state).length]).filter(([, count]) => count !== 0),
  );
}

/** `2 up, 1 silent`, or `none`. */
export function nodeCountWords(counts: ReturnType<typeof countNodes>): string {
  return (
    Object.entries(counts)
      .map(([state, count]) => `${count} ${state}`)
      .join(', ') || 'none'
  );
}

/** `n1, n2 are drained, n4 is silent`: the nodes, by state. */
export function nodeStateWords(states: ReadonlyMap<NodeName, NodeState>): string {
  const groups = order.map((state) => [...states.keys()].filter((name) => states.get(name) === state));
  return groups
    .map((names, index) => `${nodeNames(names)} ${names.length === 1 ? 'is' : 'are'} ${order[index]}`)
    .filter((_, index) => groups[index]?.length !== 0)
    .join(', ');
}

/** Why the node is excluded; `undefined`: it is not. */
export function exclusionWords(excluded: Node['excluded']): string | undefined {
  switch (excluded) {
    case 'label':
      return `label ${excludeNodeLabel}`;
    case 'taint':
      return 'taint of the cluster autoscaler';
    case 'deleted':
      return 'being deleted';
    case undefined:
      return undefined;
  }
}

/** How many nodes a sentence names. */
export const mostNames = 5;

/** `n1, n2`; of many names the first five. */
export function nodeNames(names: readonly NodeName[]): string {
  return someOf(names, mostNames);
}
