import type { AssignedAddress } from '../addresses/assignment.ts';
import type { Family } from '../ip/ip.ts';
import { dataplaneAnnotation, kubeProxyHealthPort } from '../model/contract.ts';
import type { NodeName } from '../model/names.ts';
import type { HostReport, UnequalMtu } from '../traffic/report.ts';
import { addressOfNode, listenerKey, type Listeners, type TrafficTable } from '../traffic/table.ts';
import { nodeNames } from './node-states.ts';

type Ports = AssignedAddress['served'];

/**
 * The ports of the address that `direct` should serve, and cannot: the host has the listener as published, and no node is shown
 * to serve it. The host drops their packets, or (`isStoodIn`) another dataplane stands in. `undefined`: the host has not reported on a
 * port yet.
 */
export function closedPorts(
  { ip, served }: Pick<AssignedAddress, 'ip' | 'served'>,
  listeners: Listeners,
  reports: HostReport['listeners'],
  isStoodIn: boolean,
): Ports | undefined {
  const closed: Ports[number][] = [];
  for (const port of served) {
    const key = listenerKey(ip, port.port, port.protocol);
    const [listener, report] = [listeners.get(key), reports.get(key)];
    if (listener === undefined) return undefined;
    if (listener.dataplane !== 'direct') continue;
    if (report?.revision !== listener.revision) return undefined;
    if (!listener.isPublished || report.isForwarding) continue;
    const hasStandIn = listener.standIn !== undefined && report.standInTrouble === undefined;
    if (hasStandIn === isStoodIn) closed.push(port);
  }
  return closed;
}

/** The causes that keep packets from a node, in the order in which they are reported. */
const obstacles = [
  'noTable',
  'drained',
  'silent',
  'unhealthy',
  'thisHost',
  'offLink',
  'noAnswer',
  'crossing',
  'unequalMtu',
  'unheard',
  'unproven',
] as const;
type Obstacle = (typeof obstacles)[number];

/** By family, why `direct` sends no packets to any node, as part of a sentence. */
export type DirectTrouble = { readonly [F in Family]: string | undefined };

/** `nodes`: those that could get packets. */
export function directTrouble({
  nodes,
  health,
  directObstacles,
}: Pick<HostReport, 'health' | 'directObstacles'> & Pick<TrafficTable, 'nodes'>): DirectTrouble {
  const troubleOf = (family: Family): string => {
    const found = Map.groupBy(
      [...nodes.values()].filter((node) => addressOfNode(node, family) !== undefined),
      ({ name, state }): Obstacle => {
        const obstacle = directObstacles.get(name)?.[family];
        if (obstacle === 'noTable') return obstacle;
        if (state === 'drain') return 'drained';
        const verdict = health.get(name)?.[family] ?? 'up';
        if (verdict !== 'up') return verdict;
        return typeof obstacle === 'object' ? 'unequalMtu' : (obstacle ?? 'unproven');
      },
    );
    const mtuOf = (name: NodeName): readonly (readonly [NodeName, UnequalMtu])[] => {
      const obstacle = directObstacles.get(name)?.[family];
      return typeof obstacle === 'object' ? [[name, obstacle]] : [];
    };
    return obstacles
      .flatMap((obstacle) => {
        const those = found.get(obstacle)?.map(({ name }) => name) ?? [];
        if (those.length === 0) return [];
        return [
          obstacle === 'unequalMtu'
            ? `${mtuWords(those.flatMap(mtuOf))}: direct would lose large packets, so set the same MTU`
            : wordsFor(obstacle, those),
        ];
      })
      .join('; ');
  };
  return { 4: troubleOf(4), 6: troubleOf(6) };
}

function wordsFor(obstacle: Exclude<Obstacle, 'unequalMtu'>, nodes: readonly NodeName[]): string {
  const names = nodeNames(nodes);
  const [is, has] = nodes.length === 1 ? ['is', 'has'] : ['are', 'have'];
  switch (obstacle) {
    case 'noTable':
      return 'nft or the kernel of the load-balancer host lacks what direct needs: furiwake check says what';
    case 'drained':
    case 'silent':
    case 'unhealthy':
      return `${names} ${is} ${obstacle}`;
    case 'thisHost':
      return `${names} ${is} the load-balancer host itself`;
    case 'offLink':
      return `${names} ${has} no address in a LAN of the load-balancer host`;
    case 'noAnswer':
      return `kube-proxy on ${names} does not answer on port ${kubeProxyHealthPort}: open the port to the load-balancer host`;
    case 'crossing':
      return `${names} ${nodes.length === 1 ? 'uses' : 'use'} the load-balancer host as the gateway to clients outside the LAN, and it drops such answers: use another gateway, or ${dataplaneAnnotation}=direct if all clients are on the LAN`;
    case 'unheard':
      return `${names} ${has} not been shown to send packets with the address as source: the LAN may refuse them`;
    case 'unproven':
      return `kube-proxy on ${names} has not shown a sync since the publication: read its log`;
  }
}

/** `the MTU of n1, n2 is 1400, not 1500 like that of the load-balancer host`: the nodes by MTU. */
export function mtuWords(mtus: readonly (readonly [NodeName, UnequalMtu])[]): string {
  const groups = Map.groupBy(mtus, ([, { least, most, lan }]) => {
    const range = most === undefined ? `${least} or more` : most === least ? String(least) : `${least} to ${most}`;
    return `${range}, not ${lan}`;
  });
  const all = Array.from(groups, ([text, those]) => `the MTU of ${nodeNames(those.map(([name]) => name))} is ${text}`);
  return `${all.join(', ')} like that of the load-balancer host`;
}
