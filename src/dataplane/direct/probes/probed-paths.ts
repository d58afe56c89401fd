import { families, type Family, type Ip } from '../../../core/ip/ip.ts';
import type { BackendId, NodeName } from '../../../core/model/names.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import { addressOfNode, backendOf, type Listener, type TrafficTable } from '../../../core/traffic/table.ts';
import type { Link } from '../../../ports/network.ts';
import type { ProbedPath } from './answer-probe.ts';
import { hopKey } from '../table/hops.ts';

/**
 * For each node and family a path to be probed, where there is one, between the node and an address of this host on its link:
 *
 *   the node serves TCP listeners that are open to all clients       one that the gate has opened; they take turns, by `turn`
 *   it serves none, or was probed in vain: Pods may be missing       also a VIP alone
 *   it is shown to answer, and may have got another gateway          a VIP alone
 *
 * `undefined`: those of before are good enough. Without `isRefresh` only listeners that changed, or that the gate opened, are a reason
 * for others.
 */
export function probedPaths(host: {
  readonly table: TrafficTable;
  /** The listeners, and the paths, of the last call. */
  readonly before: { readonly listeners: TrafficTable['listeners']; readonly paths: ReadonlyMap<string, ProbedPath> };
  readonly linkOf: (address: Ip) => Link | undefined;
  /** The addresses of this host itself. */
  readonly own: Iterable<Ip>;
  /** MAC addresses by the text of the address. */
  readonly macs: ReadonlyMap<string, string>;
  readonly isOpen: (listener: Listener, node: NodeName) => boolean;
  readonly isMissing: (hop: string) => boolean;
  /** The node was probed in vain. */
  readonly isUnheard: (hop: string) => boolean;
  /** Something else than listeners may have changed. */
  readonly isRefresh: boolean;
  /** The gate may have opened nodes. */
  readonly hasOpened: boolean;
  readonly turn: number;
}): ReadonlyMap<string, ProbedPath> | undefined {
  const { table, linkOf, macs, turn } = host;
  const hops = [...table.nodes.values()].flatMap((node) =>
    families.flatMap((family) => {
      const [address, hop] = [addressOfNode(node, family), hopKey(node.name, family)];
      return address === undefined ? [] : { node: node.name, address, family, hop, isMissing: host.isMissing(hop) };
    }),
  );
  const missing = hops.filter(({ isMissing }) => isMissing);
  const sources = new Map<string, Ip>();
  for (const address of host.own) {
    const link = linkOf(address);
    if (link !== undefined) sources.set(`${link.index} ${address.family}`, address);
  }
  const wayTo = (address: Ip): Pick<ProbedPath, 'link' | 'nodeMac'> | undefined => {
    const [link, nodeMac] = [linkOf(address), macs.get(address.text)];
    const source = link && sources.get(`${link.index} ${address.family}`);
    if (link === undefined || source === undefined || nodeMac === undefined) return undefined;
    const { index, mac, mtu } = link;
    return { link: { index, mac, mtu, address: source }, nodeMac };
  };
  const changed = PersistentMap.changedKeys(host.before.listeners, table.listeners);
  const needsOther = ({ hop, address }: (typeof missing)[number]): boolean => {
    const path = host.before.paths.get(hop);
    return path === undefined
      ? wayTo(address) !== undefined &&
          (host.hasOpened || changed.some((key) => isDirect(table.listeners.get(key), address.family)))
      : changed.some((key) => isTarget(path, host.before.listeners.get(key), table.listeners.get(key)));
  };
  if (!host.isRefresh && !missing.some(needsOther)) return undefined;
  const listeners = [...table.listeners.values()].filter(({ dataplane }) => dataplane === 'direct');
  const vips = { 4: vipOf(listeners, 4), 6: vipOf(listeners, 6) };
  const usable = listeners.filter(({ protocol, sourceRanges }) => protocol === 'TCP' && sourceRanges === undefined);
  const served = backendsOf(table, usable, new Set(missing.map(({ node }) => node)));
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
    const way = wayTo(address);
    if (way === undefined) continue;
    const vip = vips[family];
    const target = isMissing ? targetOf(node, family) : vip && { vip, port: undefined };
    if (target === undefined) continue;
    paths.set(hop, { ...way, nodeAddress: address, ...target });
  }
  return paths;
}

function isDirect(listener: Listener | undefined, family: Family): boolean {
  return listener?.dataplane === 'direct' && listener.address.family === family;
}

/** Whether the path led to a listener that has changed, or to an address of one that is gone. */
function isTarget(
  { vip, port }: Pick<ProbedPath, 'vip' | 'port'>,
  before: Listener | undefined,
  now: Listener | undefined,
): boolean {
  if (before?.address.text !== vip.text) return false;
  return port === undefined ? now === undefined : before.port === port;
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
  const familyOf = new Map(listeners.map(({ backend, address }) => [backend, address.family]));
  const found = new Map<NodeName, Set<BackendId>>();
  for (const [id, family] of familyOf)
    for (const { node, isDraining } of backendOf(table, id, family).servers)
      if (nodes.has(node) && !isDraining) found.set(node, (found.get(node) ?? new Set()).add(id));
  return found;
}

/** The first one that fits, from `start` on and then from the beginning. */
function nextFrom<T>(start: number, list: readonly T[], fits: (each: T) => boolean): T | undefined {
  const at = start % list.length;
  return list.slice(at).find(fits) ?? list.slice(0, at).find(fits);
}
