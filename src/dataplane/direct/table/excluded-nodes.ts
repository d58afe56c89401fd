import type { Family, Ip } from '../../../core/ip/ip.ts';
import type { NodeName } from '../../../core/model/names.ts';
import type { ExcludedNode, TrafficNode, TrafficTable } from '../../../core/traffic/table.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { CheckAnswer } from '../../../ports/health.ts';
import { hopKey } from './hops.ts';

type Nodes = Pick<TrafficTable, 'nodes' | 'excludedNodes'>;

export type ExcludedNodesDeps = {
  /** Asks nodes whether they answer, see `makeProbe`. */
  readonly probe: (targets: ReadonlyMap<string, Ip>, signal: AbortSignal) => Promise<ReadonlyMap<string, CheckAnswer>>;
  /** A node that is silent for so long loses the flows that it has; it gets no new ones before. */
  readonly silenceMs: number;
  readonly clock: Pick<Clock, 'monotonic'>;
};

/**
 * The nodes of a table, with those that were among them and are excluded by now (a label, a taint, a Node that is being deleted), or
 * whose address another Node has by now (a machine that registered under another name): they drain, because their connections
 * continue until the Node is gone. A node that was excluded before the first table is not one of them.
 */
export type ExcludedNodes = {
  /** The same parts of a table give the same object, others another one. */
  join(table: Nodes): TrafficTable['nodes'];
  /** Asks those that are excluded: nothing else checks them. Call it every half a minute while listeners use them. */
  look(signal: AbortSignal): Promise<void>;
  /** Whether an excluded node was silent at each look of the last `silenceMs`, two at least; of any other, `isLost`. */
  readonly isLost: (node: NodeName, family: Family) => boolean;
};

export function makeExcludedNodes(
  { probe, silenceMs, clock }: ExcludedNodesDeps,
  isLost: ExcludedNodes['isLost'],
): ExcludedNodes {
  let before: Nodes = { nodes: new Map(), excludedNodes: [] };
  let all: TrafficTable['nodes'] = before.nodes;
  /** The hops that were silent at the last look: since which one, monotonic ms. */
  let silent: ReadonlyMap<string, number> = new Map();
  let lost: ReadonlySet<string> = new Set();
  return {
    join: (table) => {
      const { nodes, excludedNodes } = table;
      if (nodes === before.nodes && excludedNodes === before.excludedNodes) return all;
      before = { nodes, excludedNodes };
      const machines = [...excludedNodes, ...nodes.values()];
      const excluded = [...all.values()].filter(
        (node) => !nodes.has(node.name) && machines.some((each) => isSameMachine(each, node)),
      );
      const draining = excluded.map((node): readonly [NodeName, TrafficNode] => [
        node.name,
        { ...node, state: 'drain' },
      ]);
      all = new Map([...nodes, ...draining]);
      return all;
    },
    look: async (signal) => {
      const excluded = [...all.values()].filter(({ name }) => !before.nodes.has(name));
      const targets = new Map(
        excluded.flatMap(({ name, addresses }) =>
          addresses.map((address) => [hopKey(name, address.family), address] as const),
        ),
      );
      const answers = targets.size === 0 ? new Map<string, CheckAnswer>() : await probe(targets, signal);
      const nowMs = clock.monotonic();
      const hops = [...targets.keys()].filter((hop) => answers.get(hop) === 'silent');
      silent = new Map(hops.map((hop) => [hop, silent.get(hop) ?? nowMs]));
      lost = new Set(hops.filter((hop) => nowMs - (silent.get(hop) ?? nowMs) >= silenceMs));
    },
    isLost: (node, family) => (before.nodes.has(node) ? isLost(node, family) : lost.has(hopKey(node, family))),
  };
}

function isSameMachine(machine: Pick<ExcludedNode, 'addresses'>, { addresses }: TrafficNode): boolean {
  return addresses.some(({ text }) => machine.addresses.some((address) => address.text === text));
}
