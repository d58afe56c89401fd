import type { Family, Ip } from '../../core/ip/ip.ts';
import type { NodeName } from '../../core/model/names.ts';
import { addressOfNode, type Listener, type TrafficTable } from '../../core/traffic/table.ts';
import type { Link } from '../../ports/network.ts';
import type { ProbedPath } from './answer-probe.ts';
import { hopKey } from './program.ts';

/**
 * For each node and family a path to be probed, where there is one: through a published listener of TCP that is open to all
 * clients and that the gate has opened, from an address of this host on the link of the node. The listeners of a table take
 * turns, by `turn`: the Pods of one Service may be missing.
 */
export function probedPaths(host: {
  readonly table: TrafficTable;
  readonly linkOf: (address: Ip) => Link | undefined;
  /** The addresses of this host itself. */
  readonly own: Iterable<Ip>;
  /** MAC addresses by the text of the address. */
  readonly macs: ReadonlyMap<string, string>;
  readonly isOpen: (listener: Listener, node: NodeName) => boolean;
  readonly isMissing: (hop: string) => boolean;
  readonly turn: number;
}): ReadonlyMap<string, ProbedPath> {
  const { table, linkOf, macs, turn } = host;
  const usable = [...table.listeners.values()].filter(
    ({ dataplane, protocol, isPublished, sourceRanges }) =>
      dataplane === 'direct' && protocol === 'TCP' && isPublished && sourceRanges === undefined,
  );
  const sources = new Map<string, Ip>();
  for (const address of host.own) {
    const link = linkOf(address);
    if (link !== undefined) sources.set(`${link.index} ${address.family}`, address);
  }
  const pathTo = (node: NodeName, address: Ip, family: Family): ProbedPath | undefined => {
    const [link, nodeMac] = [linkOf(address), macs.get(address.text)];
    const source = link && sources.get(`${link.index} ${family}`);
    if (link === undefined || source === undefined || nodeMac === undefined) return undefined;
    const open = usable.filter((each) => each.address.family === family && host.isOpen(each, node));
    const listener = open[turn % open.length];
    return (
      listener && {
        link: { index: link.index, mac: link.mac, address: source },
        nodeMac,
        vip: listener.address,
        port: listener.port,
      }
    );
  };
  const paths = new Map<string, ProbedPath>();
  for (const node of table.nodes.values())
    for (const family of [4, 6] as const) {
      const [address, hop] = [addressOfNode(node, family), hopKey(node.name, family)];
      const path = address === undefined || !host.isMissing(hop) ? undefined : pathTo(node.name, address, family);
      if (path !== undefined) paths.set(hop, path);
    }
  return paths;
}
