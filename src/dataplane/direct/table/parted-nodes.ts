import type { NodeName } from '../../../core/model/names.ts';
import type { ExcludedNode, TrafficNode, TrafficTable } from '../../../core/traffic/table.ts';

type Nodes = Pick<TrafficTable, 'nodes' | 'excludedNodes'>;

/**
 * The nodes of a table, with those that were among them and are excluded by now (a label, a taint, a Node that is being deleted):
 * they drain, because their connections continue until the Node is gone. A node that was excluded before the first table is not one
 * of them. The same parts of a table give the same object, others another one.
 */
export function makePartedNodes(): (table: Nodes) => TrafficTable['nodes'] {
  let before: Nodes = { nodes: new Map(), excludedNodes: [] };
  let all: TrafficTable['nodes'] = before.nodes;
  return (table) => {
    const { nodes, excludedNodes } = table;
    if (nodes === before.nodes && excludedNodes === before.excludedNodes) return all;
    before = { nodes, excludedNodes };
    const parted = [...all.values()].filter(
      (node) => !nodes.has(node.name) && excludedNodes.some((excluded) => isSameMachine(excluded, node)),
    );
    const draining = parted.map((node): readonly [NodeName, TrafficNode] => [node.name, { ...node, state: 'drain' }]);
    all = new Map([...nodes, ...draining]);
    return all;
  };
}

function isSameMachine(excluded: ExcludedNode, { addresses }: TrafficNode): boolean {
  return addresses.some(({ text }) => excluded.addresses.some((address) => address.text === text));
}
