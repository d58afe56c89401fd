import { families } from '../../../core/ip/ip.ts';
import type { BackendId, ListenerKey, NodeName } from '../../../core/model/names.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import { nodesBackend, type TrafficTable, usesHaproxy } from '../../../core/traffic/table.ts';
import type { NodeFindings } from '../../../ports/health.ts';
import type { Refusals } from '../../../ports/host.ts';
import { type ProgramId, programId, renderConfig, type Settings } from './config.ts';
import { isSafeNodeName, type NodeServer, type Servers, serversOf } from './node-servers.ts';
import { type Entries, type MapEntry, entryOf } from './entries.ts';
import type { SpareName } from './pools.ts';
import type { SilentNodes } from './spare-servers.ts';
import { spareSections } from './spare-sections.ts';
import { planSpares, type Spares } from './spares.ts';

/** The desired state of HAProxy for one table. */
export type Desired = {
  readonly table: TrafficTable;
  readonly silent: SilentNodes;
  readonly servers: Servers;
  /** Nodes that are skipped because of their name. */
  readonly unsafeNodes: readonly NodeName[];
  /** The listeners that HAProxy should serve and can. */
  readonly entries: Entries;
  /** The listeners that it cannot serve, each with the cause. */
  readonly refusals: Refusals<ListenerKey>;
  readonly spares: Spares;
  readonly program: ProgramId;
  /** The configuration with its nodes; the spare backends are empty. */
  readonly config: string;
  /** The configuration without any servers. */
  readonly bareConfig: string;
};

/** The nodes of one family as the health module asks for them. */
export function nodesAmong(servers: readonly NodeServer[]): Pick<NodeFindings, 'nodes' | 'draining'> {
  return {
    nodes: new Map(servers.map(({ node, address }) => [node, address])),
    draining: new Set(servers.filter(({ isDraining }) => isDraining).map(({ node }) => node)),
  };
}

/** The configuration with all servers. The file follows the changes of endpoints later, as the map does. */
export function fullConfigOf(
  settings: Settings,
  { program, servers, spares }: Pick<Desired, 'program' | 'servers' | 'spares'>,
): string {
  return renderConfig(settings, program, servers, spareSections(spares));
}

const noneAdopted: ReadonlyMap<BackendId, SpareName> = new Map();
const noneSilent: SilentNodes = new Set();

/**
 * The desired state for `table`, after `before`: unchanged parts keep their identity. `silent`: the same object while these
 * nodes are the same. `adopted`: for the first table, the spares that a running process uses.
 */
export function planDesired(
  settings: Settings,
  table: TrafficTable,
  before: Desired | undefined,
  silent: SilentNodes = before?.silent ?? noneSilent,
  adopted: ReadonlyMap<BackendId, SpareName> = noneAdopted,
): Desired {
  const isSame =
    before !== undefined &&
    before.table.nodes === table.nodes &&
    families.every((family) => isSameBackend(before.table, table, nodesBackend(family)));
  const servers = isSame ? before.servers : serversOf(table);
  const spares = planSpares({ table, before, servers, silent, adopted });
  const changes = new Map<ListenerKey, MapEntry | undefined>();
  const refusals = new Map(before?.refusals);
  const known = before?.table.listeners ?? PersistentMap.empty();
  for (const key of PersistentMap.changedKeys(known, table.listeners)) {
    const listener = table.listeners.get(key);
    const entry = listener !== undefined && usesHaproxy(listener) ? entryOf(listener, spares.names) : undefined;
    refusals.delete(key);
    if (entry !== undefined && 'refusal' in entry) refusals.set(key, entry.refusal);
    changes.set(key, entry !== undefined && 'key' in entry ? sameEntry(before?.entries.get(key), entry) : undefined);
  }
  const isSameSize = before?.spares.sizes === spares.sizes && before.spares.profiles === spares.profiles;
  const configs =
    isSame && isSameSize ? before : renderConfigs(settings, servers, spares, isSameSize ? before : undefined);
  return {
    table,
    silent,
    servers,
    unsafeNodes: isSame ? before.unsafeNodes : [...table.nodes.keys()].filter((name) => !isSafeNodeName(name)),
    entries: (before?.entries ?? PersistentMap.empty<ListenerKey, MapEntry>()).with(changes),
    refusals,
    spares,
    program: configs.program,
    config: configs.config,
    bareConfig: configs.bareConfig,
  };
}

/** The former object if both are equal: the files are written again for another one. */
function sameEntry(before: MapEntry | undefined, entry: MapEntry): MapEntry {
  return before?.key === entry.key && before.value === entry.value ? before : entry;
}

/** `before`: those of the same spares. */
function renderConfigs(
  settings: Settings,
  servers: Servers,
  spares: Spares,
  before: Desired | undefined,
): Pick<Desired, 'program' | 'config' | 'bareConfig'> {
  const empty = spareSections({ ...spares, servers: PersistentMap.empty() });
  const program = before?.program ?? programId(settings, empty);
  return {
    program,
    config: renderConfig(settings, program, servers, empty),
    bareConfig: before?.bareConfig ?? renderConfig(settings, program, { 4: [], 6: [] }, empty),
  };
}

function isSameBackend(a: TrafficTable, b: TrafficTable, id: BackendId): boolean {
  return a.backends.get(id) === b.backends.get(id);
}
