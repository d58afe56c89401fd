import type { Family, Ip } from '../../core/ip/ip.ts';
import type { BackendId, ListenerKey, NodeName } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { share } from '../../core/share.ts';
import {
  backendOf,
  type Listener,
  nodesBackend,
  type PodServer,
  type TrafficTable,
  usesHaproxy,
} from '../../core/traffic/table.ts';
import { adminOf, hostOf, type NodeServer, type Servers } from './config.ts';

/** The name of a spare backend in HAProxy. */
export type SpareName = `spare${Family}-${number}`;

/** A server of a spare backend: a node, or a Pod. */
export type SpareServer = {
  /** Unique in its backend: the name of the node, or `pod_10.244.1.7_8080`, which no node can have. */
  readonly name: string;
  readonly address: Ip;
  /** Of a Pod. 0: a node is reached on the target port of the listener. */
  readonly port: number;
  /** The node, or that of the Pod, if it is known. */
  readonly node: NodeName | undefined;
  readonly weight: number;
  readonly isDraining: boolean;
};

/**
 * The backends that the configuration declares ahead, empty. HAProxy cannot add a backend at run time, but servers: a backend of
 * the table gets a spare one, which is filled with its servers.
 *
 *   local4:shop/web → n1 weight 2, n3 weight 1      spare4-0   n1 track nodes4/n1 weight 2, n3 track nodes4/n3 weight 1
 *   pods4:shop/api:80 → 10.244.1.7:8080             spare4-1   pod_10.244.1.7_8080 10.244.1.7:8080 check …
 *                                                   spare4-2   …
 *
 * A node has no check of its own there: it follows the state of the node's server. A Pod has one.
 */
export type Spares = {
  /** How many are declared, by family. More cost a reload, so the number doubles. */
  readonly sizes: { readonly [F in Family]: number };
  readonly names: PersistentMap<BackendId, SpareName>;
  readonly servers: PersistentMap<SpareName, readonly SpareServer[]>;
  /** The free ones. The one that was released last is used last: the map may still have its old entries. */
  readonly free: { readonly [F in Family]: readonly SpareName[] };
  /** The number of listeners of each backend. */
  readonly uses: PersistentMap<BackendId, number>;
};

/** Of each family; 11 kB each. */
const leastSize = 16;

const noSpares: Spares = {
  sizes: { 4: leastSize, 6: leastSize },
  names: PersistentMap.empty(),
  servers: PersistentMap.empty(),
  free: { 4: spareNames(4, 0, leastSize), 6: spareNames(6, 0, leastSize) },
  uses: PersistentMap.empty(),
};

function spareNames(family: Family, from: number, to: number): readonly SpareName[] {
  return Array.from({ length: to - from }, (_, index): SpareName => `spare${family}-${from + index}`);
}

export function isSpareName(name: string): name is SpareName {
  return /^spare[46]-\d{1,5}$/.test(name);
}

export function familyOfSpare(name: SpareName): Family {
  return name.startsWith('spare4') ? 4 : 6;
}

/** The backend of all nodes of the same family as a spare one; another name as it is. */
export function nodesOf(backend: string): string {
  return backend.replace(/^spare([46])-\d+$/, 'nodes$1');
}

type SparesInput = {
  readonly table: TrafficTable;
  /** The table and the spares before. */
  readonly before: { readonly table: TrafficTable; readonly spares: Spares } | undefined;
  /** The servers of the backends of all nodes. */
  readonly servers: Servers;
  /** For the first table: the spares that a running process uses for these backends. */
  readonly adopted: ReadonlyMap<BackendId, SpareName>;
};

/** The spares for `table`: a backend keeps its own as long as a listener uses it. Unchanged parts keep their identity. */
export function planSpares({ table, before, servers, adopted }: SparesInput): Spares {
  const known = before?.spares ?? noSpares;
  const old = before?.table.listeners ?? PersistentMap.empty<ListenerKey, Listener>();
  const families = new Map<BackendId, Family>();
  const uses = new Map<BackendId, number>();
  const use = (listener: Listener | undefined, by: 1 | -1): void => {
    if (listener === undefined || !usesHaproxy(listener)) return;
    const { backend } = listener;
    const { family } = listener.address;
    if (backend === nodesBackend(family)) return;
    families.set(backend, family);
    uses.set(backend, (uses.get(backend) ?? known.uses.get(backend) ?? 0) + by);
  };
  for (const key of PersistentMap.changedKeys(old, table.listeners)) {
    use(old.get(key), -1);
    use(table.listeners.get(key), 1);
  }
  const sizes = { ...known.sizes };
  const free = { 4: [...known.free[4]], 6: [...known.free[6]] };
  const names = new Map<BackendId, SpareName | undefined>();
  const released: [Family, SpareName][] = [];
  const taken = new Set(adopted.values());
  for (const [id, count] of uses) {
    const family = families.get(id) ?? 4;
    const present = known.names.get(id);
    if (count > 0 && present === undefined) names.set(id, takeSpare(family, adopted.get(id), taken, sizes, free));
    if (count > 0 || present === undefined) continue;
    names.set(id, undefined);
    released.push([family, present]);
  }
  for (const [family, name] of released) free[family].push(name);
  const allNames = known.names.with(names);
  const isSame = before !== undefined && before.table.nodes === table.nodes;
  const changed = isSame
    ? new Set([
        ...PersistentMap.changedKeys(before.table.backends, table.backends),
        ...PersistentMap.changedKeys(before.table.pods, table.pods),
        ...names.keys(),
      ])
    : new Set([...known.names.keys(), ...allNames.keys()]);
  // While a backend is not known, the nodes of its family stand in.
  if (([4, 6] as const).some((family) => changed.has(nodesBackend(family))))
    for (const id of allNames.keys()) changed.add(id);
  const contents = new Map<SpareName, readonly SpareServer[] | undefined>();
  for (const [, name] of released) contents.set(name, undefined);
  for (const id of changed) {
    const name = allNames.get(id);
    if (name === undefined) continue;
    const family = familyOfSpare(name);
    contents.set(name, share(known.servers.get(name), spareServers(table, id, servers[family], family)));
  }
  return {
    sizes: share(known.sizes, sizes),
    names: allNames,
    servers: known.servers.with(contents),
    free: share(known.free, free),
    uses: known.uses.with(Array.from(uses, ([id, count]) => [id, count === 0 ? undefined : count])),
  };
}

function takeSpare(
  family: Family,
  wanted: SpareName | undefined,
  taken: ReadonlySet<SpareName>,
  sizes: Record<Family, number>,
  free: Record<Family, SpareName[]>,
): SpareName {
  for (;;) {
    const at = free[family].findIndex((name) => (wanted === undefined ? !taken.has(name) : name === wanted));
    const [name] = at < 0 ? [] : free[family].splice(at, 1);
    if (name !== undefined) return name;
    const size = sizes[family];
    sizes[family] = size * 2;
    free[family].push(...spareNames(family, size, size * 2));
  }
}

/** Pods, or those of the nodes that HAProxy has: a server can only follow one that exists. */
function spareServers(
  table: TrafficTable,
  id: BackendId,
  nodes: readonly NodeServer[],
  family: Family,
): readonly SpareServer[] {
  const pods = table.pods.get(id)?.pods;
  if (pods !== undefined) return pods.map((pod) => podServer(pod, table));
  const servers = new Map(backendOf(table, id, family).servers.map((server) => [server.node, server]));
  return nodes.flatMap((node) => {
    const server = servers.get(node.node);
    if (server === undefined) return [];
    const isDraining = node.isDraining || server.isDraining;
    return [{ name: node.node, address: node.address, port: 0, node: node.node, weight: server.weight, isDraining }];
  });
}

/** A Pod drains with its node. */
function podServer({ address, port, node, isDraining }: PodServer, { nodes }: TrafficTable): SpareServer {
  const isOnDrained = node !== undefined && nodes.get(node)?.state === 'drain';
  const name = `pod_${address.text}_${port}`;
  return { name, address, port, node, weight: 1, isDraining: isDraining || isOnDrained };
}

/** The spares that a running process uses: the backend of a listener is in the value of its map entry. */
export function adoptedSpares(
  table: TrafficTable,
  valueOf: (listener: Listener) => string | undefined,
): ReadonlyMap<BackendId, SpareName> {
  const adopted = new Map<BackendId, SpareName>();
  const owners = new Map<SpareName, BackendId>();
  for (const listener of table.listeners.values()) {
    const { family } = listener.address;
    if (!usesHaproxy(listener) || listener.backend === nodesBackend(family)) continue;
    const [name = ''] = valueOf(listener)?.split('|') ?? [];
    if (!isSpareName(name) || !name.startsWith(`spare${family}`) || adopted.has(listener.backend)) continue;
    if (owners.has(name)) continue;
    adopted.set(listener.backend, name);
    owners.set(name, listener.backend);
  }
  return adopted;
}

/** The sections of the configuration. */
export function spareSections({ sizes, servers }: Pick<Spares, 'sizes' | 'servers'>): readonly string[] {
  return ([4, 6] as const).flatMap((family) =>
    spareNames(family, 0, sizes[family]).flatMap((name) => [
      '',
      `backend ${name}`,
      '    balance roundrobin',
      ...(servers.get(name) ?? []).map(
        (server) =>
          `    server ${server.name} ${targetOf(server)} ${optionsOf(name, server)}${server.isDraining ? ' disabled' : ''}`,
      ),
    ]),
  );
}

/**
 * A Pod that answers is checked every five seconds, and every second once a check or a connection has failed: with 6,000 Pods
 * the checks take a twentieth of a core. Two failed checks take it out of use; a failed connection alone does not, and is tried
 * with another Pod.
 */
const podCheckOptions =
  'check inter 5s fastinter 1s downinter 2s fall 2 rise 1 observe layer4 error-limit 1 on-error fastinter';

function targetOf({ address, port }: SpareServer): string {
  return port === 0 ? hostOf(address) : `${hostOf(address)}:${port}`;
}

function optionsOf(backend: SpareName, { name, port, weight }: SpareServer): string {
  const nodes = nodesOf(backend);
  return `${port === 0 ? `track ${nodes}/${name}` : podCheckOptions} weight ${weight}`;
}

/** The state of a server that HAProxy has. */
export type SpareLine = {
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  readonly admin: 'ready' | 'drain' | 'maint';
};

/** The runtime commands that make a server of a spare backend as desired; `present`: as it is. */
export function spareCommands(name: SpareName, present: SpareLine | undefined, server: SpareServer): readonly string[] {
  const id = `${name}/${server.name}`;
  const { address, port } = server;
  const state = `set server ${id} state ${adminOf(server)}`;
  if (present === undefined) {
    const add = `add server ${id} ${targetOf(server)} ${optionsOf(name, server)}`;
    return port === 0 ? [add, state] : [add, `enable health ${id}`, state];
  }
  const commands: string[] = [];
  if (present.address !== address.text || present.port !== port)
    commands.push(`set server ${id} addr ${address.text}${port === 0 ? '' : ` port ${port}`}`);
  if (present.weight !== server.weight) commands.push(`set server ${id} weight ${server.weight}`);
  if (present.admin !== adminOf(server)) commands.push(state);
  return commands;
}
