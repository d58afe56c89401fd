import type { Family } from '../ip/ip.ts';
import type { NodeName, ServiceKey } from '../model/names.ts';
import type { Node } from '../model/node.ts';
import { addressOfNode, localBackend, type TrafficTable } from '../traffic/table.ts';
import { exclusionWords, nodeNames, type NodeStatesInput } from './node-states.ts';

/** By family, why no node takes new connections, as part of a sentence; `undefined` if a node does. */
export type NodeTrouble = { readonly [F in Family]: string | undefined };

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

function troubleOf(family: Family, { nodes, table, health }: NodeStatesInput): string | undefined {
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

/** The same for one Service: with `externalTrafficPolicy: Local` only the nodes with its endpoints count, if there are some. */
export function nodeTroubleOfService(
  trouble: NodeTrouble,
  service: ServiceKey,
  { backends, nodes }: Pick<TrafficTable, 'backends' | 'nodes'>,
  health: NodeStatesInput['health'],
): NodeTrouble {
  const of = (family: Family): string | undefined => {
    const backend = backends.get(localBackend(family, service));
    if (trouble[family] !== undefined || backend === undefined) return trouble[family];
    const found = backend.servers.flatMap(({ node }) => nodes.get(node) ?? []);
    if (found.length === 0) return undefined;
    const active = found.filter(({ state }) => state === 'active');
    if (active.some(({ name }) => health.get(name)?.[family] !== 'silent')) return undefined;
    const drained = found.filter(({ state }) => state === 'drain');
    const parts = [
      active.length === 0 ? [] : `silent (${names(active)})`,
      drained.length === 0 ? [] : `drained (${names(drained)})`,
    ];
    return `every node with an endpoint is ${parts.flat().join(' or ')}`;
  };
  return { 4: of(4), 6: of(6) };
}

function exclusion({ name, excluded }: Node): string {
  const words = exclusionWords(excluded);
  return words === undefined ? name : `${name} (${words})`;
}

function names(nodes: readonly { readonly name: NodeName }[]): string {
  return nodeNames(nodes.map(({ name }) => name));
}
