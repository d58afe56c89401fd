import { type Family, type Ip, parseIp } from '../../core/ip/ip.ts';
import type { NodeName } from '../../core/model/names.ts';
import { nodesBackend } from '../../core/traffic/table.ts';
import type { CheckAnswer, CheckedNode, HealthOrders } from '../../ports/health.ts';
import type { ServerStat } from './answers.ts';
import type { NodeServer } from './config.ts';

/** `show stat` of the backends of nodes. */
export const statCommands: readonly string[] = ([4, 6] as const).map(
  (family) => `show stat ${nodesBackend(family)} 4 -1`,
);

/** What HAProxy's checks found, by node. */
export function checkedNodes(stats: readonly ServerStat[]): ReadonlyMap<NodeName, CheckedNode> {
  return new Map(stats.map((stat) => [stat.server as NodeName, { isUp: isUp(stat), answer: answerOf(stat) }]));
}

/** The nodes that HAProxy still has and the table no longer. */
export function goneNodes(nodes: readonly NodeServer[], stats: readonly ServerStat[]): ReadonlyMap<NodeName, Ip> {
  const wanted = new Set<string>(nodes.map(({ node }) => node));
  const gone = new Map<NodeName, Ip>();
  for (const { server, address } of stats) {
    const ip = parseIp(address);
    if (ip !== undefined && !wanted.has(server)) gone.set(server as NodeName, ip);
  }
  return gone;
}

/** The runtime commands that carry the orders of the health module out. */
export function orderCommands({ dead, out }: HealthOrders, family: Family): readonly string[] {
  const backend = nodesBackend(family);
  return [
    ...Array.from(out, ([node, isOut]) => `set server ${backend}/${node} health ${isOut ? 'down' : 'up'}`),
    ...dead.map((node) => `shutdown sessions server ${backend}/${node}`),
  ];
}

/** `UP`, and `UP 1/2` on its way down; also `no check`. */
function isUp(stat: ServerStat): boolean {
  return stat.status.startsWith('UP') || stat.status === 'no check';
}

/** What the last check found, `* ` while the next one is under way; `undefined` while that is not known. */
export function answerOf(stat: Pick<ServerStat, 'checkStatus' | 'lastCheck'>): CheckAnswer | undefined {
  const status = stat.checkStatus.replace(/^\* /, '');
  switch (status) {
    case 'L7OK':
    case 'L7OKC':
      return 'ok';
    case 'L7STS':
      return 'unhealthy';
    case 'L7RSP': // something else than HTTP
    case 'L7TOUT': // accepted, then nothing
    case 'L6RSP':
    case 'L6TOUT':
      return 'alive';
    case 'L4TOUT':
      return 'silent';
    case 'L4CON':
      // A check that is under way has cleared the system's words.
      if (status !== stat.checkStatus) return undefined;
      return /refused|reset/i.test(stat.lastCheck) ? 'alive' : 'silent'; // else: no route to it
    default:
      return undefined; // INI, SOCKERR (this host lacks something), UNK
  }
}
