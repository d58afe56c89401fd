import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { Row, TrafficTable } from '../../core/traffic/table.ts';
import type { Held } from './held.ts';
import type { Layout } from './layout.ts';
import { type Identity, identityOf, renderConfig } from './program.ts';
import { type Entries, type Entry, entryKey, rowEntry } from './rows.ts';
import { nodeServers, type Servers, slotServers } from './servers.ts';
import { defaultCap, type Settings } from './settings.ts';
import { makeSlotAssigner, slotUse, type SlotUse } from './slots.ts';

/** All that HAProxy shall be for one table: the text of its configuration, and what it means. */
export type Desired = {
  readonly table: TrafficTable;
  readonly layout: Layout;
  readonly identity: Identity;
  readonly servers: Servers;
  /** The rows that HAProxy can serve. */
  readonly entries: Entries;
  /** The slots of the rows with a backend of their own. */
  readonly slots: ReadonlyMap<Row, string>;
  readonly config: string;
};

/**
 * What HAProxy shall be for `table`, after `before`: parts that did not change keep their identity. `held`: what the
 * worker holds, if there is one; rows keep the slots that they have there. `layoutNow`: the least slots.
 */
export function planDesired(
  settings: Settings,
  table: TrafficTable,
  layoutNow: Layout,
  held: Held | undefined,
  before: Desired | undefined,
): Desired {
  const cap = defaultCap(settings.maxConnections);
  const slots = new Map<Row, string>();
  for (const [row, slot] of before?.slots ?? []) if (table.rows.get(row.key) === row) slots.set(row, slot);
  const assigner = makeSlotAssigner(() => useOf(held, before), layoutNow);
  const entries = nextEntries(before, table, (row) =>
    rowEntry(
      row,
      (profile) => {
        const slot = assigner.slotFor(entryKey(row), profile);
        slots.set(row, slot);
        return slot;
      },
      cap,
    ),
  );
  const layout = assigner.layout();
  const servers = planServers(table, slots, before);
  return {
    table,
    layout,
    identity: before?.layout === layout ? before.identity : identityOf(settings, layout),
    servers,
    entries,
    slots,
    config:
      before?.layout === layout && before.servers === servers ? before.config : renderConfig(settings, layout, servers),
  };
}

function nextEntries(
  before: Desired | undefined,
  { rows }: TrafficTable,
  render: (row: Row) => Entry | undefined,
): Entries {
  const known = before?.table.rows ?? PersistentMap.empty();
  const changes = PersistentMap.changedKeys(known, rows).map((key): [ListenerKey, Entry | undefined] => {
    const row = rows.get(key);
    return [key, row && render(row)];
  });
  return (before?.entries ?? PersistentMap.empty<ListenerKey, Entry>()).with(changes);
}

function planServers(table: TrafficTable, slots: Desired['slots'], before: Desired | undefined): Servers {
  const isSame = before !== undefined && before.table.nodes === table.nodes;
  if (isSame && before.slots.size === 0 && slots.size === 0) return before.servers;
  const nodes = isSame ? before.servers.nodes : { 4: nodeServers(table, 4), 6: nodeServers(table, 6) };
  const known = { 4: new Set(nodes[4].map(({ node }) => node)), 6: new Set(nodes[6].map(({ node }) => node)) };
  const filled = [...slots].flatMap(([{ backend }, slot]) =>
    backend.kind === 'own' ? [[slot, slotServers(backend.servers, known)] as const] : [],
  );
  return { nodes, slots: new Map(filled) };
}

function useOf(held: Held | undefined, before: Desired | undefined): SlotUse {
  if (held !== undefined) return slotUse(held);
  const slots = [...(before?.slots ?? [])];
  return {
    byKey: new Map(slots.map(([row, slot]) => [entryKey(row), slot])),
    busy: new Set(slots.map(([, slot]) => slot)),
  };
}
