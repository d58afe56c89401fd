import type { Family, Ip } from '../../../core/ip/ip.ts';
import type { NodeName } from '../../../core/model/names.ts';
import { type ServerOptions, serverText } from '../../../core/traffic/options.ts';
import type { PodServer, Server, TrafficTable } from '../../../core/traffic/table.ts';
import { hostOf, type NodeServer, serverId, setAddress } from './node-servers.ts';
import type { SpareName } from './pools.ts';

/**
 * A server of a spare backend: a node, or a Pod. A node without options has no check of its own, it follows the state of the
 * node's server, and its port is that of the listener's target. A Pod has a check.
 */
export type SpareServer = {
  /**
   * Its name in HAProxy: `n1`, `n1:30525:proxy2`, or `pod_10.244.1.7_8080`, which no node can have. All that HAProxy cannot change
   * at run time is in the name, so that a server with other options is another server, also beside one that still has
   * connections.
   */
  readonly name: string;
  readonly isPod: boolean;
  readonly address: Ip;
  /** 0: the map entry of the listener has it. */
  readonly port: number;
  /** The node, or that of the Pod, if it is known. */
  readonly node: NodeName | undefined;
  readonly weight: number;
  readonly admin: SpareLine['admin'];
  /** It gets new connections, or would if its node were not silent. */
  readonly isInUse: boolean;
  readonly options: ServerOptions;
};

/** What decides about a server beside the server itself. */
type Setting = {
  readonly options: ServerOptions;
  readonly silent: SilentNodes;
  /** Clients are remembered: HAProxy sends them to a server in state `drain` as well, so one that drains is in maintenance. */
  readonly isAffine: boolean;
};

/** Nodes that do not answer and get no new connections, by {@link serverId}. */
export type SilentNodes = ReadonlySet<string>;

/** A server with a check of its own drains while its node is silent; others follow the check of the node. */
export function nodeServer(
  nodeOf: NodeServer,
  server: Server,
  port: number,
  { options, silent, isAffine }: Setting,
): SpareServer {
  const { address, node } = nodeOf;
  const name = port === 0 ? node : withText(`${node}:${port}`, options);
  const isSilent = options.check !== undefined && silent.has(serverId(nodeOf));
  const isInUse = !nodeOf.isDraining && !server.isDraining;
  const admin = adminOfSpare(!isInUse || isSilent, isAffine);
  return { name, isPod: false, address, port, node, weight: server.weight, admin, isInUse, options };
}

/** A Pod drains with its node, and while that is silent. */
export function podServer(
  pod: PodServer,
  { nodes }: Pick<TrafficTable, 'nodes'>,
  { options, silent, isAffine }: Setting,
): SpareServer {
  const { address, port, node } = pod;
  const isInUse = !pod.isDraining && (node === undefined || nodes.get(node)?.state !== 'drain');
  const isSilent = node !== undefined && silent.has(serverId({ family: address.family, node }));
  const admin = adminOfSpare(!isInUse || isSilent, isAffine);
  const name = withText(`pod_${address.text}_${port}`, options);
  return { name, isPod: true, address, port, node, weight: 1, admin, isInUse, options };
}

function adminOfSpare(isDraining: boolean, isAffine: boolean): SpareServer['admin'] {
  return isDraining ? (isAffine ? 'maint' : 'drain') : 'ready';
}

function withText(name: string, options: ServerOptions): string {
  const text = serverText(options);
  return text === '' ? name : `${name}:${text}`;
}

/** The node's server whose state this one follows, if it has no check of its own. */
export function followedBy({ address, isPod, node, options }: SpareServer): string | undefined {
  if (isPod || node === undefined || options.check !== undefined) return undefined;
  return serverId({ family: address.family, node });
}

/** The node of a server by its name. */
export function nodeOfServer(name: string): NodeName {
  return (name.split(':', 1)[0] ?? '') as NodeName;
}

/** The node of each Pod that is known to be on one, by its address. */
export type PodNodes = ReadonlyMap<string, NodeName>;

export function nodesOfPods({
  servers,
}: {
  readonly servers: ReadonlyMap<SpareName, readonly SpareServer[]>;
}): PodNodes {
  const nodes = new Map<string, NodeName>();
  for (const each of servers.values())
    for (const { isPod, address, node } of each) if (isPod && node !== undefined) nodes.set(address.text, node);
  return nodes;
}

/** The node of a server, or of the Pod that it is, by its name; `undefined`: of a Pod, not known. */
export function nodeBehind(name: string, pods: PodNodes): NodeName | undefined {
  const [, pod] = /^pod_(.+)_\d+(?::|$)/.exec(name) ?? [];
  return pod === undefined ? nodeOfServer(name) : pods.get(pod);
}

/** How long connections of a server that drains may continue, by its name (see `serverText`); `undefined`: until they end. */
export function drainMsOf(name: string): number | undefined {
  const colon = name.lastIndexOf(':');
  const [, text] = colon < 0 ? [] : (/(?:^|\.)drain(\d+)(?:\.|$)/.exec(name.slice(colon + 1)) ?? []);
  return text === undefined ? undefined : Number(text);
}

/** A line of the configuration. */
export function spareServerLine(server: SpareServer): string {
  return `    server ${server.name} ${targetOf(server)} ${wordsOf(server)}${server.admin === 'ready' ? '' : ' disabled'}`;
}

function targetOf({ address, port }: SpareServer): string {
  return port === 0 ? hostOf(address) : `${hostOf(address)}:${port}`;
}

function wordsOf(server: SpareServer): string {
  const { mostConnections, proxyProtocol, slowStartMs } = server.options;
  const check = checkOf(server);
  return [
    check ?? `track ${followedBy(server)}`,
    `weight ${server.weight}`,
    proxyProtocol === 1 && 'send-proxy',
    proxyProtocol === 2 && 'send-proxy-v2',
    proxyProtocol > 0 && check !== undefined && 'check-send-proxy',
    mostConnections > 0 && `maxconn ${mostConnections}`,
    slowStartMs > 0 && `slowstart ${slowStartMs}ms`,
  ]
    .filter((word) => word !== false)
    .join(' ');
}

/**
 * A Pod that answers is checked every five seconds, and every second once a check or a connection has failed: with 6,000 Pods
 * the checks take a twentieth of a core. Two failed checks take it out of use; a failed connection alone does not, and is tried
 * with another Pod.
 */
const podCheck =
  'check inter 5s fastinter 1s downinter 2s fall 2 rise 1 observe layer4 error-limit 1 on-error fastinter';

/** `undefined`: it has none of its own. */
function checkOf({ isPod, options: { check } }: SpareServer): string | undefined {
  if (check !== undefined) return `check inter ${check.intervalMs}ms fall ${check.fall} rise ${check.rise}`;
  return isPod ? podCheck : undefined;
}

/** The state of a server that HAProxy has. */
export type SpareLine = {
  readonly address: string;
  /** 0: it has none. */
  readonly port: number;
  readonly weight: number;
  readonly admin: 'ready' | 'drain' | 'maint';
  /** Its own check is enabled. */
  readonly isChecked: boolean;
};

/** The state of `server` when it is as desired. */
export function spareLine(server: SpareServer): SpareLine {
  const { address, port, weight, admin } = server;
  return { address: address.text, port, weight, admin, isChecked: checkOf(server) !== undefined };
}

/** The runtime commands that make a server of a spare backend as desired; `present`: as it is. */
export function spareCommands(name: SpareName, present: SpareLine | undefined, server: SpareServer): readonly string[] {
  const id = `${name}/${server.name}`;
  const { address, port, weight, admin, isChecked } = spareLine(server);
  const enable = isChecked ? [`enable health ${id}`] : [];
  const state = `set server ${id} state ${admin}`;
  if (present === undefined) return [`add server ${id} ${targetOf(server)} ${wordsOf(server)}`, ...enable, state];
  const commands: string[] = [];
  if (present.address !== address || present.port !== port) commands.push(setAddress(id, { address, port }, present));
  if (present.weight !== weight) commands.push(`set server ${id} weight ${weight}`);
  if (!present.isChecked) commands.push(...enable);
  if (present.admin !== admin) commands.push(state);
  return commands;
}

/** `backend/server` of all Pods of this family on the node. */
export function podsOn(
  family: Family,
  node: NodeName,
  { servers }: { readonly servers: ReadonlyMap<SpareName, readonly SpareServer[]> },
): readonly string[] {
  return Array.from(servers).flatMap(([spare, each]) =>
    spare.startsWith(`spare${family}`)
      ? each.filter((server) => server.isPod && server.node === node).map(({ name }) => `${spare}/${name}`)
      : [],
  );
}
