import type { Family, Ip } from '../../../core/ip/ip.ts';
import { kubeProxyHealthPort } from '../../../core/model/contract.ts';
import type { NodeName } from '../../../core/model/names.ts';
import { addressOfNode, nodesBackend, type TrafficTable } from '../../../core/traffic/table.ts';

/** A node in the backend of its family: one server with one health check; the port is that of the listener. */
export type NodeServer = {
  readonly node: NodeName;
  readonly family: Family;
  readonly address: Ip;
  readonly isDraining: boolean;
};

/** The desired servers of HAProxy, by the family of their backend. */
export type Servers = { readonly [F in Family]: readonly NodeServer[] };

/**
 * A node's name is the only external text that reaches HAProxy: a node whose name is not a DNS-1123 subdomain is
 * skipped.
 */
export function isSafeNodeName(name: string): boolean {
  return name.length <= 253 && /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(name);
}

/** The servers of the backends `nodes4` and `nodes6`, each node once, without nodes that have an invalid name. */
export function serversOf(table: TrafficTable): Servers {
  const ofFamily = (family: Family): readonly NodeServer[] => {
    const servers = new Map<NodeName, NodeServer>();
    for (const { node } of table.backends.get(nodesBackend(family))?.servers ?? []) {
      const known = table.nodes.get(node);
      const address = known && addressOfNode(known, family);
      if (known === undefined || address === undefined || !isSafeNodeName(node)) continue;
      servers.set(node, { node, family, address, isDraining: known.state === 'drain' });
    }
    return [...servers.values()];
  };
  return { 4: ofFamily(4), 6: ofFamily(6) };
}

/** `backend/server`, the name in the runtime API. */
export function serverId({ family, node }: Pick<NodeServer, 'family' | 'node'>): string {
  return `${nodesBackend(family)}/${node}`;
}

/** One check per node and second: two failures take the node out of use, one success takes it back into use. */
export const checkOptions: string = `check port ${kubeProxyHealthPort} inter 1s fall 2 rise 1`;

/**
 * The administrative state of a node's server. In `drain` it is still checked. The configuration has no word for that: a
 * process starts with the server `disabled`, which is `maint`, and the first commands set it to `drain`.
 */
export function adminOf({ isDraining }: Pick<NodeServer, 'isDraining'>): 'drain' | 'ready' {
  return isDraining ? 'drain' : 'ready';
}

export function nodeServerLine(server: NodeServer): string {
  return `    server ${server.node} ${hostOf(server.address)} ${checkOptions}${server.isDraining ? ' disabled' : ''}`;
}

/** The runtime commands that add a node; `isChecked` false while furiwake's own probe decides. */
export function addNodeServer(server: NodeServer, isChecked: boolean): readonly string[] {
  const id = serverId(server);
  return [
    `add server ${id} ${hostOf(server.address)} ${checkOptions}`,
    ...(isChecked ? [`enable health ${id}`] : []),
    `set server ${id} state ${adminOf(server)}`,
  ];
}

/** The command that gives a server its address and port. Port 0: that of the connection counts. */
export function setAddress(
  id: string,
  { address, port }: { readonly address: string; readonly port: number },
  present: { readonly port: number },
): string {
  const words = port === present.port ? '' : ` port ${port === 0 ? '+0' : port}`;
  return `set server ${id} addr ${address}${words}`;
}

/** Brackets, or HAProxy takes the last group of an IPv6 address for a port. */
export function hostOf(address: Ip): string {
  return address.family === 4 ? address.text : `[${address.text}]`;
}
