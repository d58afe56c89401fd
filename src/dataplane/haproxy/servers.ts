import type { Family, Ip } from '../../core/ip/ip.ts';
import type { NodeName } from '../../core/model/names.ts';
import type { OwnServer, Profile, TrafficTable } from '../../core/traffic/table.ts';

/** kube-proxy's health port (`--healthz-bind-address`), which says by HTTP status whether a node wants traffic. */
export const healthPort = 10256;

/** A node in the shared backend of its family: one server, one health check; its port is the row's nodePort. */
export type NodeServer = {
  readonly node: NodeName;
  readonly family: Family;
  readonly address: Ip;
  readonly isDraining: boolean;
};

/** A server in a slot. Its name says all that cannot be changed, so servers of one name are the same. */
export type SlotServer = { readonly name: string; readonly server: OwnServer; readonly weight: number };

/** The servers of a table, as HAProxy shall have them. */
export type Servers = {
  readonly nodes: { readonly 4: readonly NodeServer[]; readonly 6: readonly NodeServer[] };
  /** By slot. */
  readonly slots: ReadonlyMap<string, readonly SlotServer[]>;
};

export function nodesBackend(family: Family): 'nodes4' | 'nodes6' {
  return family === 4 ? 'nodes4' : 'nodes6';
}

/** A node's name is the only foreign text that reaches HAProxy: a DNS-1123 subdomain, or the node is left out. */
export function isSafeNodeName(name: string): boolean {
  return name.length <= 253 && /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(name);
}

/** The nodes of one family without those whose name or address HAProxy must not see. The first of a name counts. */
export function nodeServers(table: TrafficTable, family: Family): readonly NodeServer[] {
  const servers = new Map<NodeName, NodeServer>();
  for (const { node, address, state } of table.nodes[family]) {
    if (isSafeNodeName(node) && address.family === family && !servers.has(node))
      servers.set(node, { node, family, address, isDraining: state === 'drain' });
  }
  return [...servers.values()];
}

/** The servers of a slot, each once, without those whose node is not among `known`: there is no check to track. */
export function slotServers(
  wanted: readonly OwnServer[],
  known: { readonly [F in Family]: ReadonlySet<NodeName> },
): readonly SlotServer[] {
  const servers = new Map<string, SlotServer>();
  for (const server of wanted) {
    const { address, node, port } = server;
    if (!isPort(port) || !known[address.family].has(node)) continue;
    const name = `${node}_${address.family}_${address.text}:${port}`;
    const weight = Number.isNaN(server.weight) ? 1 : Math.min(256, Math.max(0, Math.round(server.weight)));
    servers.set(name, { name, server, weight });
  }
  return [...servers.values()];
}

/** The node in the name of a slot's server, if the server is of `family`. */
export function nodeOfSlotServer(name: string, family: Family): string | undefined {
  const [node, version] = name.split('_');
  return version === String(family) ? node : undefined;
}

export function isPort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port < 65536;
}

/** One check per node and second: two failures take it out, one success takes it in. */
export const checkOptions: string = `check port ${healthPort} inter 1s fall 2 rise 1`;

export function nodeServerLine(server: NodeServer): string {
  return `    server ${server.node} ${hostOf(server.address)} ${checkOptions}${server.isDraining ? ' disabled' : ''}`;
}

export function slotServerLine(server: SlotServer, profile: Profile): string {
  return `    server ${server.name} ${slotServerOptions(server, profile)}`;
}

/** The runtime commands that add a node; `isChecked` false while the agent's own probe decides. */
export function addNodeServer(server: NodeServer, isChecked: boolean): readonly string[] {
  const id = `${nodesBackend(server.family)}/${server.node}`;
  return [
    `add server ${id} ${hostOf(server.address)} ${checkOptions}`,
    ...(isChecked ? [`enable health ${id}`] : []),
    `set server ${id} state ${server.isDraining ? 'drain' : 'ready'}`,
  ];
}

export function addSlotServer(slot: string, server: SlotServer, profile: Profile): readonly string[] {
  const id = `${slot}/${server.name}`;
  return [`add server ${id} ${slotServerOptions(server, profile)}`, `set server ${id} state ready`];
}

const proxyOptions = { none: '', v1: ' send-proxy', v2: ' send-proxy-v2' } as const;

function slotServerOptions({ server, weight }: SlotServer, profile: Profile): string {
  const { address, node, port } = server;
  const tracked = `track ${nodesBackend(address.family)}/${node}`;
  return `${hostOf(address)}:${port} ${tracked} weight ${weight}${proxyOptions[profile.proxyProtocol]}`;
}

/** Brackets, or HAProxy takes an IPv6 address's last group for a port. */
export function hostOf(address: Ip): string {
  return address.family === 4 ? address.text : `[${address.text}]`;
}
