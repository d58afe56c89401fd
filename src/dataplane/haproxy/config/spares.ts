import { families, type Family } from '../../../core/ip/ip.ts';
import type { BackendId, ListenerKey, ServiceKey } from '../../../core/model/names.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import { share } from '../../../core/share.ts';
import {
  hasOwnBackend,
  plainProfile,
  plainServer,
  type Profile,
  profileText,
  isUsualProfile,
  type ServerOptions,
  usualProfiles,
} from '../../../core/traffic/options.ts';
import { backendOf, type Listener, nodesBackend, type TrafficTable, usesHaproxy } from '../../../core/traffic/table.ts';
import type { NodeServer, Servers } from './node-servers.ts';
import { hasTarget } from './entries.ts';
import {
  familyOfPool,
  isSpareName,
  ownerOf,
  type PoolId,
  poolOf,
  poolOfProfile,
  poolOfSpare,
  spareNames,
  type SpareName,
  usesAllNodes,
} from './pools.ts';
import { nodeServer, podServer, type SilentNodes, type SpareServer } from './spare-servers.ts';

/**
 * The backends that the configuration declares ahead, empty. HAProxy cannot add a backend at run time, but servers: a backend of
 * the table gets a spare one, which is filled with its servers.
 *
 *   local4:shop/web → n1 weight 2, n3 weight 1      spare4-0   n1 track nodes4/n1 weight 2, n3 track nodes4/n3 weight 1
 *   pods4:shop/api:80 → 10.244.1.7:8080             spare4-1   pod_10.244.1.7_8080 10.244.1.7:8080 check …
 *                                                   spare4-2   …
 *   a port with options: nodes4 test/mail 30525 …   spare4-3   n1:30525:proxy2 track nodes4/n1 weight 1 send-proxy-v2, n2:…
 *   … and a profile                                 spare4.1x2y3z-0, of a pool whose backends have its lines
 */
export type Spares = {
  /** How many are declared, by pool. More cost a reload, so the number doubles. */
  readonly sizes: Readonly<Record<PoolId, number>>;
  /** Of the pools that have one. */
  readonly profiles: Readonly<Partial<Record<PoolId, Profile>>>;
  /** By {@link ownerOf}. */
  readonly names: PersistentMap<BackendId, SpareName>;
  /** Of the owners that have options, what makes their servers. */
  readonly special: PersistentMap<BackendId, Special>;
  readonly servers: PersistentMap<SpareName, readonly SpareServer[]>;
  /** The free ones. The one that was released last is used last: the map may still have its old entries. */
  readonly free: Readonly<Record<PoolId, readonly SpareName[]>>;
  /** The owners that free ones had last: one that returns gets its own back, which may still have its servers and connections. */
  readonly lastOwners: PersistentMap<SpareName, BackendId>;
  /** The number of listeners of each backend. */
  readonly uses: PersistentMap<BackendId, number>;
};

type Special = {
  /** Of the table. */
  readonly backend: BackendId;
  readonly service: ServiceKey;
  readonly port: number;
  readonly server: ServerOptions;
  readonly isAffine: boolean;
};

/** Of each family; 11 kB each. */
const leastSize = 16;
/** Of each profile and family. */
const leastOfProfile = 4;

/** Of each family and usual profile, declared from the start. */
const usualPools = families.flatMap((family) =>
  usualProfiles
    .filter((profile) => profileText(profile) !== '')
    .map((profile) => ({ pool: poolOfProfile(family, profile), profile })),
);

const noSpares: Spares = {
  sizes: { 4: leastSize, 6: leastSize, ...Object.fromEntries(usualPools.map(({ pool }) => [pool, leastOfProfile])) },
  profiles: Object.fromEntries(usualPools.map(({ pool, profile }) => [pool, profile])),
  names: PersistentMap.empty(),
  special: PersistentMap.empty(),
  servers: PersistentMap.empty(),
  free: {
    4: spareNames('4', 0, leastSize),
    6: spareNames('6', 0, leastSize),
    ...Object.fromEntries(usualPools.map(({ pool }) => [pool, spareNames(pool, 0, leastOfProfile)])),
  },
  lastOwners: PersistentMap.empty(),
  uses: PersistentMap.empty(),
};

type SparesInput = {
  readonly table: TrafficTable;
  /** The table and the spares before. */
  readonly before: { readonly table: TrafficTable; readonly spares: Spares; readonly silent: SilentNodes } | undefined;
  /** The servers of the backends of all nodes. */
  readonly servers: Servers;
  /** The same object while they are the same. */
  readonly silent: SilentNodes;
  /** For the first table: the spares that a running process uses for these backends. */
  readonly adopted: ReadonlyMap<BackendId, SpareName>;
};

/** The spares for `table`: a backend keeps its own as long as a listener uses it. Unchanged parts keep their identity. */
export function planSpares(input: SparesInput): Spares {
  const { table, before, servers, adopted } = input;
  const known = before?.spares ?? noSpares;
  const { uses, users } = countUses(known.uses, before?.table.listeners ?? PersistentMap.empty(), table.listeners);
  const pools: Pools = { sizes: { ...known.sizes }, profiles: { ...known.profiles }, free: { ...known.free } };
  const names = new Map<BackendId, SpareName | undefined>();
  const special = new Map<BackendId, Special | undefined>();
  const released: SpareName[] = [];
  const lastOwners = new Map<SpareName, BackendId | undefined>();
  const taken = new Set(adopted.values());
  for (const [id, count] of uses) {
    const present = known.names.get(id);
    const user = users.get(id);
    if (count > 0 && present === undefined && user !== undefined) {
      const own = pools.free[poolOf(user)]?.find((name) => known.lastOwners.get(name) === id);
      const name = takeSpare(pools, user, adopted.get(id) ?? own, taken);
      names.set(id, name);
      lastOwners.set(name, undefined);
      const { backend, service, options, targetPort } = user;
      if (options !== undefined && hasOwnBackend(options))
        special.set(id, {
          backend,
          service,
          port: targetPort,
          server: options.server,
          isAffine: options.profile.affinitySeconds > 0,
        });
    }
    if (count > 0 || present === undefined) continue;
    names.set(id, undefined);
    special.set(id, undefined);
    released.push(present);
    lastOwners.set(present, id);
  }
  for (const name of released) {
    const pool = poolOfSpare(name) ?? '4';
    pools.free[pool] = [...(pools.free[pool] ?? []), name];
  }
  const owners = { names: known.names.with(names), special: known.special.with(special) };
  const contents = new Map<SpareName, readonly SpareServer[] | undefined>(released.map((name) => [name, undefined]));
  for (const id of changedOwners(input, owners, names.keys())) {
    const name = owners.names.get(id);
    if (name === undefined) continue;
    const family = familyOfPool(poolOfSpare(name) ?? '4');
    const { backend, ...rest } = owners.special.get(id) ?? {
      backend: id,
      port: 0,
      server: plainServer,
      isAffine: false,
    };
    contents.set(name, share(known.servers.get(name), spareServers(input, backend, servers[family], rest, family)));
  }
  return {
    sizes: share(known.sizes, pools.sizes),
    profiles: share(known.profiles, pools.profiles),
    ...owners,
    servers: known.servers.with(contents),
    free: share(known.free, pools.free),
    lastOwners: known.lastOwners.with(lastOwners),
    uses: known.uses.with(Array.from(uses, ([id, count]) => [id, count === 0 ? undefined : count])),
  };
}

/** The owners whose number of listeners changed, each with that number, and one of its listeners. */
function countUses(
  known: Spares['uses'],
  before: TrafficTable['listeners'],
  now: TrafficTable['listeners'],
): { readonly uses: ReadonlyMap<BackendId, number>; readonly users: ReadonlyMap<BackendId, Listener> } {
  const uses = new Map<BackendId, number>();
  const users = new Map<BackendId, Listener>();
  const use = (listener: Listener | undefined, by: 1 | -1): void => {
    if (listener === undefined || !usesHaproxy(listener) || usesAllNodes(listener) || !hasTarget(listener)) return;
    const id = ownerOf(listener);
    if (by === 1) users.set(id, listener);
    uses.set(id, (uses.get(id) ?? known.get(id) ?? 0) + by);
  };
  for (const key of PersistentMap.changedKeys<ListenerKey, Listener>(before, now)) {
    use(before.get(key), -1);
    use(now.get(key), 1);
  }
  return { uses, users };
}

/** The owners whose servers may have changed. */
function changedOwners(
  { table, before, silent }: SparesInput,
  { names, special }: Pick<Spares, 'names' | 'special'>,
  renamed: Iterable<BackendId>,
): ReadonlySet<BackendId> {
  if (before === undefined || before.table.nodes !== table.nodes || before.silent !== silent)
    return new Set(names.keys());
  const changed = new Set([
    ...PersistentMap.changedKeys(before.table.backends, table.backends),
    ...PersistentMap.changedKeys(before.table.pods, table.pods),
  ]);
  // While a backend is not known, the nodes of its family stand in.
  if (families.some((family) => changed.has(nodesBackend(family)))) return new Set(names.keys());
  const owners = new Set([...changed, ...renamed]);
  if (changed.size > 0) for (const [id, { backend }] of special) if (changed.has(backend)) owners.add(id);
  return owners;
}

type Pools = {
  readonly sizes: Record<PoolId, number>;
  readonly profiles: Partial<Record<PoolId, Profile>>;
  readonly free: Record<PoolId, readonly SpareName[]>;
};

function takeSpare(
  pools: Pools,
  user: Listener,
  wanted: SpareName | undefined,
  taken: ReadonlySet<SpareName>,
): SpareName {
  const { sizes, free, profiles } = pools;
  const pool = poolOf(user);
  if (sizes[pool] === undefined) {
    removeUnused(pools); // the reload for the new one is theirs, too
    sizes[pool] = leastOfProfile;
    profiles[pool] = user.options?.profile ?? plainProfile;
    free[pool] = spareNames(pool, 0, leastOfProfile);
  }
  for (;;) {
    const names = free[pool] ?? [];
    const at = names.findIndex((name) => (wanted === undefined ? !taken.has(name) : name === wanted));
    const name = names[at];
    if (name !== undefined) {
      free[pool] = names.toSpliced(at, 1);
      return name;
    }
    const size: number = sizes[pool] ?? leastOfProfile;
    sizes[pool] = size * 2;
    free[pool] = [...names, ...spareNames(pool, size, size * 2)];
  }
}

/** Removes the pools of profiles that no listener has had since before this plan. */
function removeUnused({ sizes, free, profiles }: Pools): void {
  for (const [pool, profile] of Object.entries(profiles) as [PoolId, Profile][]) {
    if (isUsualProfile(profile) || free[pool]?.length !== sizes[pool]) continue;
    delete sizes[pool];
    delete free[pool];
    delete profiles[pool];
  }
}

/** Pods, or those of the nodes that HAProxy has: a server can only follow one that exists. */
function spareServers(
  { table, silent }: Pick<SparesInput, 'table' | 'silent'>,
  id: BackendId,
  nodes: readonly NodeServer[],
  { port, server: options, isAffine }: Omit<Special, 'backend' | 'service'>,
  family: Family,
): readonly SpareServer[] {
  const pods = table.pods.get(id)?.pods;
  if (pods !== undefined) return pods.map((pod) => podServer(pod, table, { options, silent, isAffine }));
  const servers = new Map(backendOf(table, id, family).servers.map((server) => [server.node, server]));
  return nodes.flatMap((node) => {
    const server = servers.get(node.node);
    if (server === undefined) return [];
    return nodeServer(node, server, port, { options, silent, isAffine });
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
    if (!usesHaproxy(listener) || usesAllNodes(listener)) continue;
    const [name = ''] = valueOf(listener)?.split('|') ?? [];
    const id = ownerOf(listener);
    if (!isSpareName(name) || poolOfSpare(name) !== poolOf(listener) || adopted.has(id)) continue;
    if (owners.has(name)) continue;
    adopted.set(id, name);
    owners.set(name, id);
  }
  return adopted;
}
