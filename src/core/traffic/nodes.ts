import { formatRange } from '../ip/range.ts';
import type { NodeName } from '../model/names.ts';
import type { Node } from '../model/node.ts';
import { emptyTable, type ExcludedNode, nodesBackends, type TrafficNode, type TrafficTable } from './table.ts';

type PlannedNodes = Pick<TrafficTable, 'nodes' | 'excludedNodes' | 'backends'>;

/**
 * Plans the nodes of a table and the backends of all of them. Omits excluded nodes: the dataplane drains a server before it removes
 * it. An address is that of one node ({@link addressOwners}). The same nodes give the same objects.
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
    const owners = addressOwners(nodes.values());
    const usable = [...nodes.values()]
      .filter(({ excluded }) => excluded === undefined)
      .map(({ name, addresses, podCidrs, bootId }): TrafficNode => ({
        name,
        addresses: addresses.filter(({ text }) => owners.get(text)?.name === name),
        podCidrs,
        bootId,
        state: drained.has(name) ? 'drain' : 'active',
      }))
      .filter(({ addresses }) => addresses.length > 0)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const next = {
      nodes: new Map(usable.map((node) => [node.name, node])),
      excludedNodes: [...nodes.values()].filter(({ excluded }) => excluded !== undefined).map(addressesOf),
      backends: nodesBackends(usable),
    };
    planned = {
      nodes: contentOf(planned.nodes) === contentOf(next.nodes) ? planned.nodes : next.nodes,
      excludedNodes:
        contentOfExcluded(planned) === contentOfExcluded(next) ? planned.excludedNodes : next.excludedNodes,
      backends: contentOfBackends(planned) === contentOfBackends(next) ? planned.backends : next.backends,
    };
    return planned;
  };
}

/**
 * The node that has each address, by text. Two Nodes have the same one while a machine has got another name, or its address was given
 * to another machine: the former Node is no longer Ready after some seconds, and older.
 */
function addressOwners(nodes: Iterable<Node>): ReadonlyMap<string, Node> {
  const owners = new Map<string, Node>();
  for (const node of nodes)
    for (const { text } of node.addresses) {
      const other = owners.get(text);
      if (other === undefined || compareClaims(node, other) < 0) owners.set(text, node);
    }
  return owners;
}

function compareClaims(a: Node, b: Node): number {
  return (
    Number(a.excluded === 'deleted') - Number(b.excluded === 'deleted') ||
    Number(b.isReady) - Number(a.isReady) ||
    b.createdAtMs - a.createdAtMs ||
    (a.name < b.name ? -1 : 1)
  );
}

function addressesOf({ addresses, podCidrs }: Node): ExcludedNode {
  return { addresses, podCidrs };
}

function contentOfExcluded({ excludedNodes }: PlannedNodes): string {
  return excludedNodes.map(textOfAddresses).sort().join('\n');
}

function textOfAddresses({ addresses, podCidrs }: ExcludedNode): string {
  return [...addresses.map(({ text }) => text), ...podCidrs.map(formatRange)].join(' ');
}

function contentOfBackends({ backends }: PlannedNodes): string {
  return JSON.stringify([...backends]);
}

function contentOf(nodes: TrafficTable['nodes']): string {
  return Array.from(nodes.values(), (node) =>
    [node.name, textOfAddresses(node), node.bootId, node.state].join(' '),
  ).join('\n');
}
