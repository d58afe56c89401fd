import type { Family } from '../ip/ip.ts';
import type { NodeName, ServiceKey } from '../model/names.ts';
import type { Node } from '../model/node.ts';
import { addressOfNode, localBackend, type TrafficNode, type TrafficTable } from '../traffic/table.ts';
import { exclusionWords, mostNames, nodeNames, type NodeStatesInput } from './node-states.ts';
import { someOf } from './sentences.ts';

/** By family, why no node takes new connections; `undefined` if a node does. */
export type NodeTrouble = { readonly [F in Family]: NodeLack | undefined };

export type NodeLack = {
  /** Part of a sentence. */
  readonly words: string;
  /** There are nodes, and their health or a drain keeps connections from them. */
  readonly hasNodes: boolean;
};

export function nodeTrouble(input: NodeStatesInput): NodeTrouble {
  return { 4: troubleOf(4, input), 6: troubleOf(6, input) };
}

/** The same; what it remembers saves the work for each of thousands of turns that concern no node. */
export function makeNodeTrouble(): (input: NodeStatesInput) => NodeTrouble {
  let seen: readonly unknown[] = [];
  let trouble: NodeTrouble = { 4: undefined, 6: undefined };
  return (input) => {
    const parts = [input.nodes, input.table.nodes, input.health];
    if (!parts.every((part, index) => part === seen[index])) trouble = nodeTrouble(input);
    seen = parts;
    return trouble;
  };
}

function troubleOf(family: Family, { nodes, table, health }: NodeStatesInput): NodeLack | undefined {
  if (nodes.size === 0) return { words: 'the cluster has no nodes', hasNodes: false };
  const usable = [...table.nodes.values()].filter((node) => addressOfNode(node, family) !== undefined);
  if (usable.length === 0) {
    const withAddress = [...nodes.values()].filter(({ addresses }) => addresses.some((ip) => ip.family === family));
    const words =
      withAddress.length === 0
        ? `no node has an IPv${family} address`
        : `every node with an IPv${family} address is excluded: ${someOf(withAddress.map(exclusion), mostNames)}`;
    return { words, hasNodes: false };
  }
  const groups = unused(family, usable, health);
  const [only] = groups;
  if (only === undefined) return undefined;
  const words = groups.length === 1 ? `${only.word}: ${names(only.nodes)}` : listed(groups);
  return { words: `every node is ${words}`, hasNodes: true };
}

/** The same for one Service: with `externalTrafficPolicy: Local` only the nodes with its endpoints count, if there are some. */
export function nodeTroubleOfService(
  trouble: NodeTrouble,
  service: ServiceKey,
  { backends, nodes }: Pick<TrafficTable, 'backends' | 'nodes'>,
  health: NodeStatesInput['health'],
): NodeTrouble {
  const of = (family: Family): NodeLack | undefined => {
    const backend = backends.get(localBackend(family, service));
    if (trouble[family] !== undefined || backend === undefined) return trouble[family];
    const found = backend.servers.flatMap(({ node }) => nodes.get(node) ?? []);
    if (found.length === 0) return undefined;
    const groups = unused(family, found, health);
    return groups.length === 0
      ? undefined
      : { words: `every node with an endpoint is ${listed(groups)}`, hasNodes: true };
  };
  return { 4: of(4), 6: of(6) };
}

type NodeGroup = { readonly word: string; readonly nodes: readonly TrafficNode[] };

/** The nodes by what keeps new connections from them; empty if one takes them. */
function unused(
  family: Family,
  nodes: readonly TrafficNode[],
  health: NodeStatesInput['health'],
): readonly NodeGroup[] {
  const wordOf = ({ name, state }: TrafficNode): string =>
    state === 'drain' ? 'drained' : (health.get(name)?.[family] ?? 'up');
  const found = Map.groupBy(nodes, wordOf);
  if (found.has('up')) return [];
  return ['unhealthy', 'silent', 'drained'].flatMap((word) => {
    const those = found.get(word);
    return those === undefined ? [] : { word, nodes: those };
  });
}

function listed(groups: readonly NodeGroup[]): string {
  return groups.map(({ word, nodes }) => `${word} (${names(nodes)})`).join(' or ');
}

function exclusion({ name, excluded }: Node): string {
  const words = exclusionWords(excluded);
  return words === undefined ? name : `${name} (${words})`;
}

function names(nodes: readonly { readonly name: NodeName }[]): string {
  return nodeNames(nodes.map(({ name }) => name));
}
