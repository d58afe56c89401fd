import type { ListenerKey, NodeName } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { type TrafficTable, usesHaproxy } from '../../core/traffic/table.ts';
import type { Refusals } from '../../ports/host.ts';
import { capOf, isSafeNodeName, renderConfig, type Servers, serversOf, type Settings } from './config.ts';
import { type Entries, type MapEntry, entryOf } from './entries.ts';

/** The desired state of HAProxy for one table. */
export type Desired = {
  readonly table: TrafficTable;
  readonly servers: Servers;
  /** Nodes that are skipped because of their name. */
  readonly unsafeNodes: readonly NodeName[];
  /** The listeners that HAProxy should serve and can. */
  readonly entries: Entries;
  /** The listeners that it cannot serve, each with the cause. */
  readonly refusals: Refusals<ListenerKey>;
  readonly config: string;
  /** The configuration without its servers. */
  readonly bareConfig: string;
};

/** The desired state for `table`, after `before`: unchanged parts keep their identity. */
export function planDesired(settings: Settings, table: TrafficTable, before: Desired | undefined): Desired {
  const cap = capOf(settings.maxConnections);
  const changes = new Map<ListenerKey, MapEntry | undefined>();
  const refusals = new Map(before?.refusals);
  const known = before?.table.listeners ?? PersistentMap.empty();
  for (const key of PersistentMap.changedKeys(known, table.listeners)) {
    const listener = table.listeners.get(key);
    const entry = listener !== undefined && usesHaproxy(listener) ? entryOf(listener, cap) : undefined;
    refusals.delete(key);
    if (entry !== undefined && 'refusal' in entry) refusals.set(key, entry.refusal);
    changes.set(key, entry !== undefined && 'key' in entry ? entry : undefined);
  }
  const isSame = before !== undefined && before.table.nodes === table.nodes && before.table.backends === table.backends;
  const servers = isSame ? before.servers : serversOf(table);
  return {
    table,
    servers,
    unsafeNodes: isSame ? before.unsafeNodes : [...table.nodes.keys()].filter((name) => !isSafeNodeName(name)),
    entries: (before?.entries ?? PersistentMap.empty<ListenerKey, MapEntry>()).with(changes),
    refusals,
    config: isSame ? before.config : renderConfig(settings, servers),
    bareConfig: before?.bareConfig ?? renderConfig(settings, { 4: [], 6: [] }),
  };
}
