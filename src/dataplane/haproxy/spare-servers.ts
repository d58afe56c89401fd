import type { NodeName } from '../../core/model/names.ts';
import { type ServerOptions, serverText } from '../../core/traffic/options.ts';
import { adminOf, hostOf, type NodeServer, serverId } from './config.ts';
import type { SpareName } from './pools.ts';

/**
 * A server of a spare backend: a node. Without options it has no check of its own, it follows the state of the node's server, and its
 * port is that of the listener's target.
 */
export type SpareServer = NodeServer & {
  readonly weight: number;
  /** 0: the map entry of the listener has it. */
  readonly port: number;
  readonly options: ServerOptions;
};

/**
 * Its name in HAProxy: `n1`, or `n1:30525:proxy2`. All that HAProxy cannot change at run time is in the name, so that a server
 * with other options is another server, also beside one that still has connections.
 */
export function spareServerName({ node, port, options }: Pick<SpareServer, 'node' | 'port' | 'options'>): string {
  if (port === 0) return node;
  return [node, port, serverText(options)].filter((part) => part !== '').join(':');
}

/** The node of a server by its name. */
export function nodeOfServer(name: string): NodeName {
  return (name.split(':', 1)[0] ?? '') as NodeName;
}

/** A line of the configuration. */
export function spareServerLine(server: SpareServer): string {
  return `    server ${spareServerName(server)} ${targetOf(server)} ${wordsOf(server)}${server.isDraining ? ' disabled' : ''}`;
}

function targetOf({ address, port }: SpareServer): string {
  return port === 0 ? hostOf(address) : `${hostOf(address)}:${port}`;
}

function wordsOf(server: SpareServer): string {
  const { check, mostConnections, proxyProtocol, slowStartMs } = server.options;
  return [
    check === undefined
      ? `track ${serverId(server)}`
      : `check inter ${check.intervalMs}ms fall ${check.fall} rise ${check.rise}`,
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
  const { address, options, port, weight } = server;
  return { address: address.text, port, weight, admin: adminOf(server), isChecked: options.check !== undefined };
}

/** The runtime commands that make a server of a spare backend as desired; `present`: as it is. */
export function spareCommands(name: SpareName, present: SpareLine | undefined, server: SpareServer): readonly string[] {
  const id = `${name}/${spareServerName(server)}`;
  const { address, port, weight, admin, isChecked } = spareLine(server);
  const enable = isChecked ? [`enable health ${id}`] : [];
  const state = `set server ${id} state ${admin}`;
  if (present === undefined) return [`add server ${id} ${targetOf(server)} ${wordsOf(server)}`, ...enable, state];
  const commands: string[] = [];
  if (present.address !== address || present.port !== port)
    commands.push(`set server ${id} addr ${address}${port === 0 ? '' : ` port ${port}`}`);
  if (present.weight !== weight) commands.push(`set server ${id} weight ${weight}`);
  if (!present.isChecked) commands.push(...enable);
  if (present.admin !== admin) commands.push(state);
  return commands;
}
