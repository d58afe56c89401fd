import type { Family, Ip } from '../../core/ip/ip.ts';
import type { BackendId, NodeName } from '../../core/model/names.ts';
import { addressOfNode, backendOf, type Listener, type TrafficTable } from '../../core/traffic/table.ts';
import type { Link } from '../../ports/network.ts';
import type { ProbedPath } from './answer-probe.ts';
import { hopKey } from './hops.ts';

/**
 * For each node and family a path to be probed, where there is one, between the node and an address of this host on its link:
 *
 *   the node serves TCP listeners that are open to all clients       one that the gate has opened; they take turns, by `turn`
 *   it serves none, or was probed in vain: Pods may be missing       also a VIP alone
 *   it is shown to answer, and may have got another gateway          a VIP alone
 *
 * `undefined`: those of before are good enough.
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
  /** The node was probed in vain. */
  readonly isUnheard: (hop: string) => boolean;
  /** The paths to nodes that are not missing are found again. */
  readonly isRefresh: boolean;
  readonly turn: number;
}): ReadonlyMap<string, ProbedPath> | undefined {
  const { table, linkOf, macs, turn } = host;
  const hops = [...table.nodes.values()].flatMap((node) =>
    ([4, 6] as const).flatMap((family) => {
      const [address, hop] = [addressOfNode(node, family), hopKey(node.name, family)];
      return address === undefined ? [] : { node: node.name, address, family, hop, isMissing: host.isMissing(hop) };
    }),
  );
  const missing = hops.filter(({ isMissing }) => isMissing);
  if (missing.length === 0 && !host.isRefresh) return undefined;
  const listeners = [...table.listeners.values()].filter(({ dataplane }) => dataplane === 'direct');
  const vips = { 4: vipOf(listeners, 4), 6: vipOf(listeners, 6) };
  const usable = listeners.filter(({ protocol, sourceRanges }) => protocol === 'TCP' && sourceRanges === undefined);
  const served = backendsOf(table, usable, new Set(missing.map(({ node }) => node)));
  const sources = new Map<string, Ip>();
  for (const address of host.own) {
    const link = linkOf(address);
    if (link !== undefined) sources.set(`${link.index} ${address.family}`, address);
  }
  const targetOf = (node: NodeName, family: Family): Pick<ProbedPath, 'vip' | 'port'> | undefined => {
    const isServed = (each: Listener): boolean =>
      each.address.family === family && served.get(node)?.has(each.backend) === true;
    const mayBeAlone = host.isUnheard(hopKey(node, family)) || !usable.some(isServed);
    const alone = mayBeAlone ? vips[family] : undefined;
    const start = alone === undefined ? turn : Math.floor(turn / 2);
    const open = nextFrom(start, usable, (each) => isServed(each) && each.isPublished && host.isOpen(each, node));
    const targets = [
      ...(open === undefined ? [] : [{ vip: open.address, port: open.port }]),
      ...(alone === undefined ? [] : [{ vip: alone, port: undefined }]),
    ];
    return targets[turn % targets.length];
  };
  const paths = new Map<string, ProbedPath>();
  for (const { node, address, family, hop, isMissing } of hops) {
    const [link, nodeMac] = [linkOf(address), macs.get(address.text)];
    const source = link && sources.get(`${link.index} ${family}`);
    if (link === undefined || source === undefined || nodeMac === undefined) continue;
    const vip = vips[family];
    const target = isMissing ? targetOf(node, family) : vip && { vip, port: undefined };
    if (target === undefined) continue;
    const { index, mac, mtu } = link;
    paths.set(hop, { link: { index, mac, mtu, address: source }, nodeMac, nodeAddress: address, ...target });
  }
  return paths;
}

function vipOf(listeners: readonly Listener[], family: Family): Ip | undefined {
  return listeners.find(({ address }) => address.family === family)?.address;
}

/** For each of these nodes the backends in which it takes new flows, of those that the listeners have. */
function backendsOf(
  table: TrafficTable,
  listeners: readonly Listener[],
  nodes: ReadonlySet<NodeName>,
): ReadonlyMap<NodeName, ReadonlySet<BackendId>> {
  const families = new Map(listeners.map(({ backend, address }) => [backend, address.family]));
  const found = new Map<NodeName, Set<BackendId>>();
  for (const [id, family] of families)
    for (const { node, isDraining } of backendOf(table, id, family).servers)
      if (nodes.has(node) && !isDraining) found.set(node, (found.get(node) ?? new Set()).add(id));
  return found;
}

/** The first one that fits, from `start` on and then from the beginning. */
function nextFrom<T>(start: number, list: readonly T[], fits: (each: T) => boolean): T | undefined {
  const at = start % list.length;
  return list.slice(at).find(fits) ?? list.slice(0, at).find(fits);
}
