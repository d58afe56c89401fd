import type { Ip } from '../../../core/ip/ip.ts';
import type { NodeName } from '../../../core/model/names.ts';
import type { DirectObstacle, DirectObstacles } from '../../../core/traffic/report.ts';
import type { TrafficTable } from '../../../core/traffic/table.ts';

/** Which nodes cannot be next hops, and why: first what no answer of kube-proxy changes. */
export function findObstacles(
  nodes: TrafficTable['nodes'],
  host: {
    readonly isOwn: (address: Ip) => boolean;
    readonly linkOf: (address: Ip) => string | undefined;
    readonly isAnswering: (node: NodeName) => boolean;
    /** What probes, and the MTUs of this host, show. */
    readonly measured: (node: NodeName, family: Ip['family']) => DirectObstacle | undefined;
    /** Only that the node is not shown to answer clients itself (`AnsweringNodes`) keeps packets from it. */
    readonly isUnheard: (node: NodeName, family: Ip['family']) => boolean;
  },
): DirectObstacles {
  const found = new Map<NodeName, { -readonly [F in Ip['family']]?: DirectObstacle }>();
  for (const { name, addresses } of nodes.values())
    for (const address of addresses) {
      const obstacle = host.isOwn(address)
        ? 'thisHost'
        : host.linkOf(address) === undefined
          ? 'offLink'
          : !host.isAnswering(name)
            ? 'noAnswer'
            : (host.measured(name, address.family) ?? (host.isUnheard(name, address.family) ? 'unheard' : undefined));
      if (obstacle !== undefined) found.set(name, { ...found.get(name), [address.family]: obstacle });
    }
  return found;
}

/** Of a host that cannot load the table: no node can be a next hop. */
export function withoutTable(nodes: TrafficTable['nodes']): DirectObstacles {
  return new Map(
    Array.from(nodes.values(), ({ name, addresses }) => [
      name,
      Object.fromEntries(addresses.map(({ family }) => [family, 'noTable' as const])),
    ]),
  );
}
