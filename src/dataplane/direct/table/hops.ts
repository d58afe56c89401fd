import { families, type Family, type Ip } from '../../../core/ip/ip.ts';
import type { NodeName } from '../../../core/model/names.ts';
import { nodeUse } from '../../../core/traffic/node-use.ts';
import type { Ids } from '../../nftables/ids.ts';
import type { ProgramInput } from './program.ts';

/** A node as a next hop. Registers are 32 bits wide: `mark` stands for the node. */
export type NextHop = { readonly mark: number; readonly address: Ip; readonly link: string };

/** The next hops, and (`takers`) those of them that take new flows. */
export function planHops(
  { table, verdicts, linkOf, isOwn, isLost, isOpen }: ProgramInput,
  nodeIds: Ids,
  lost: Set<string>,
): { readonly hops: ReadonlyMap<string, NextHop>; readonly takers: ReadonlySet<string> } {
  const nodes = [...table.nodes.values()];
  const { hasUp, takes } = nodeUse(nodes, verdicts);
  const servesAny = (node: NodeName, family: Family): boolean => {
    for (const listener of table.listeners.values())
      if (listener.address.family === family && isOpen(listener, node)) return true;
    return false;
  };
  const hops = new Map<string, NextHop>();
  const takers = new Set<string>();
  for (const node of nodes) {
    const { name, addresses } = node;
    for (const family of families) {
      const address = addresses.find((each) => each.family === family);
      const link = address && linkOf(address);
      if (address === undefined || link === undefined || isOwn(address)) continue;
      const key = hopKey(name, family);
      if (hasUp[family] && isLost(name, family)) lost.add(key);
      else if (lost.has(key) && (!hasUp[family] || servesAny(name, family))) lost.delete(key);
      if (lost.has(key)) continue;
      hops.set(key, { mark: nodeIds.of(name), address, link });
      if (takes(node, family)) takers.add(key);
    }
  }
  return { hops, takers };
}

/** A node in one family, as `DirectProgram.hops` names it. */
export function hopKey(node: NodeName, family: Family): string {
  return `${node} ${family}`;
}
