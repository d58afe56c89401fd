import type { Family } from '../ip/ip.ts';
import { excludeNodeLabel } from '../model/contract.ts';
import type { NodeName } from '../model/names.ts';
import type { Node } from '../model/node.ts';
import type { HostReport } from '../traffic/report.ts';
import { addressOfNode, type TrafficTable } from '../traffic/table.ts';

/** By family, why no node takes new connections, as part of a sentence; `undefined` if a node does. */
export type NodeTrouble = { readonly [F in Family]: string | undefined };

export type NodeTroubleInput = {
  /** All nodes of the cluster. */
  readonly nodes: ReadonlyMap<NodeName, Node>;
  readonly table: Pick<TrafficTable, 'nodes'>;
  readonly health: HostReport['health'];
};

export function nodeTrouble(input: NodeTroubleInput): NodeTrouble {
  return { 4: troubleOf(4, input), 6: troubleOf(6, input) };
}

function troubleOf(family: Family, { nodes, table, health }: NodeTroubleInput): string | undefined {
  if (nodes.size === 0) return 'the cluster has no nodes';
  const usable = [...table.nodes.values()].filter((node) => addressOfNode(node, family) !== undefined);
  if (usable.length === 0) {
    const withAddress = [...nodes.values()].filter(({ addresses }) => addresses.some((ip) => ip.family === family));
    if (withAddress.length === 0) return `no node has an IPv${family} address`;
    return `every node with an IPv${family} address is excluded: ${withAddress.map(exclusion).join(', ')}`;
  }
  const active = usable.filter(({ state }) => state === 'active');
  if (active.length === 0) return `every node is drained: ${names(usable)}`;
  const answering = active.filter(({ name }) => health.get(name)?.[family] !== 'silent');
  if (answering.length > 0) return undefined;
  const drained = usable.filter(({ state }) => state !== 'active');
  if (drained.length === 0) return `every node is silent: ${names(active)}`;
  return `every node is silent (${names(active)}) or drained (${names(drained)})`;
}

/** The nodes that take new connections, in one family at least. */
export function acceptingNodes({ table, health }: Omit<NodeTroubleInput, 'nodes'>): ReadonlySet<NodeName> {
  const accepting = [...table.nodes.values()].filter(({ name, addresses, state }) => {
    const found = health.get(name);
    return state === 'active' && addresses.some(({ family }) => found?.[family] !== 'silent');
  });
  return new Set(accepting.map(({ name }) => name));
}

function exclusion({ name, excluded }: Node): string {
  switch (excluded) {
    case 'label':
      return `${name} (label ${excludeNodeLabel})`;
    case 'taint':
      return `${name} (taint of the cluster autoscaler)`;
    case 'deleted':
      return `${name} (being deleted)`;
    case undefined:
      return name;
  }
}

const mostNames = 5;

function names(nodes: readonly { readonly name: NodeName }[]): string {
  const shown = nodes.slice(0, mostNames).map(({ name }) => name);
  return nodes.length > mostNames ? `${shown.join(', ')} and ${nodes.length - mostNames} more` : shown.join(', ');
}
