import { formatRange } from '../ip/range.ts';
import type { NodeName } from '../model/names.ts';
import type { Node } from '../model/node.ts';
import { emptyTable, nodesBackends, type TrafficNode, type TrafficTable } from './table.ts';

type PlannedNodes = Pick<TrafficTable, 'nodes' | 'backends'>;

/**
 * Plans the nodes of a table and the backends of all of them. Omits excluded nodes: the dataplane drains a server before it removes
 * it. The same nodes give the same objects.
 */
export function makeNodesPlanner(): (
  nodes: ReadonlyMap<NodeName, Node>,
  drained: ReadonlySet<NodeName>,
) => PlannedNodes {
  let last: { readonly nodes: ReadonlyMap<NodeName, Node>; readonly drained: ReadonlySet<NodeName> } | undefined;
  let planned: PlannedNodes = emptyTable;
  return (nodes, drained) => {
    if (last?.nodes === nodes && last.drained === drained) return planned;
    last = { nodes, drained };
    const usable = [...nodes.values()]
      .filter(({ excluded, addresses }) => excluded === undefined && addresses.length > 0)
      .map(({ name, addresses, podCidrs, bootId }): TrafficNode => ({
        name,
        addresses,
        podCidrs,
        bootId,
        state: drained.has(name) ? 'drain' : 'active',
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const next = { nodes: new Map(usable.map((node) => [node.name, node])), backends: nodesBackends(usable) };
    planned = {
      nodes: contentOf(planned.nodes) === contentOf(next.nodes) ? planned.nodes : next.nodes,
      backends: contentOfBackends(planned) === contentOfBackends(next) ? planned.backends : next.backends,
    };
    return planned;
  };
}

function contentOfBackends({ backends }: PlannedNodes): string {
  return JSON.stringify([...backends]);
}

function contentOf(nodes: TrafficTable['nodes']): string {
  return Array.from(nodes.values(), ({ name, addresses, podCidrs, bootId, state }) =>
    [name, ...addresses.map(({ text }) => text), ...podCidrs.map(formatRange), bootId, state].join(' '),
  ).join('\n');
}
