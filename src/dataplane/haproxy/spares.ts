import type { Family } from '../../core/ip/ip.ts';
import type { BackendId, ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { share } from '../../core/share.ts';
import { backendOf, type Listener, nodesBackend, type TrafficTable, usesHaproxy } from '../../core/traffic/table.ts';
import { adminOf, hostOf, type NodeServer, type Servers, serverId } from './config.ts';

/** The name of a spare backend in HAProxy. */
export type SpareName = `spare${Family}-${number}`;

/** A node in a spare backend. It has no check of its own: it follows the state of the node's server. */
export type SpareServer = NodeServer & { readonly weight: number };

/**
 * The backends that the configuration declares ahead, empty. HAProxy cannot add a backend at run time, but servers: a backend of
 * the table gets a spare one, which is filled with its servers.
 *
 *   local4:shop/web → n1 weight 2, n3 weight 1      spare4-0   n1 track nodes4/n1 weight 2, n3 track nodes4/n3 weight 1
 *                                                   spare4-1   …
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
    ? new Set([...PersistentMap.changedKeys(before.table.backends, table.backends), ...names.keys()])
    : new Set([...known.names.keys(), ...allNames.keys()]);
  // While a backend is not known, the nodes of its family stand in.
  if (([4, 6] as const).some((family) => changed.has(nodesBackend(family))))
    for (const id of allNames.keys()) changed.add(id);
  const contents = new Map<SpareName, readonly SpareServer[] | undefined>();
  for (const [, name] of released) contents.set(name, undefined);
  for (const id of changed) {
    const name = allNames.get(id);
    if (name === undefined) continue;
    const family: Family = name.startsWith('spare4') ? 4 : 6;
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

/** Of the nodes that HAProxy has: a server can only follow one that exists. */
function spareServers(
  table: TrafficTable,
  id: BackendId,
  nodes: readonly NodeServer[],
  family: Family,
): readonly SpareServer[] {
  const servers = new Map(backendOf(table, id, family).servers.map((server) => [server.node, server]));
  return nodes.flatMap((node) => {
    const server = servers.get(node.node);
    if (server === undefined) return [];
    return [{ ...node, weight: server.weight, isDraining: node.isDraining || server.isDraining }];
  });
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
          `    server ${server.node} ${hostOf(server.address)} ${optionsOf(server)}${server.isDraining ? ' disabled' : ''}`,
      ),
    ]),
  );
}

function optionsOf(server: SpareServer): string {
  return `track ${serverId(server)} weight ${server.weight}`;
}

/** The state of a server that HAProxy has. */
export type SpareLine = {
  readonly address: string;
  readonly weight: number;
  readonly admin: 'ready' | 'drain' | 'maint';
};

/** The runtime commands that make a server of a spare backend as desired; `present`: as it is. */
export function spareCommands(name: SpareName, present: SpareLine | undefined, server: SpareServer): readonly string[] {
  const id = `${name}/${server.node}`;
  const state = `set server ${id} state ${adminOf(server)}`;
  if (present === undefined) return [`add server ${id} ${hostOf(server.address)} ${optionsOf(server)}`, state];
  const commands: string[] = [];
  if (present.address !== server.address.text) commands.push(`set server ${id} addr ${server.address.text}`);
  if (present.weight !== server.weight) commands.push(`set server ${id} weight ${server.weight}`);
  if (present.admin !== adminOf(server)) commands.push(state);
  return commands;
}
