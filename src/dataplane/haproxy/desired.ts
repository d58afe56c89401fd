import type { Row, TrafficTable } from '../../core/traffic/table.ts';
import type { Held } from './changes.ts';
import { type Layout, profileOfSlot } from './layout.ts';
import { identityOf, type Identity, renderConfig } from './program.ts';
import { backendOf, type Entry, entryLine, rowEntry } from './rows.ts';
import { nodeServers, type Servers, slotServers, type SlotServer } from './servers.ts';
import { defaultCap, type Settings } from './settings.ts';
import { assignSlots } from './slots.ts';

/** All that HAProxy shall be for one table: the texts of its files, and what they mean. */
export type Desired = {
  readonly table: TrafficTable;
  readonly layout: Layout;
  readonly identity: Identity;
  readonly servers: Servers;
  /** Values by `VIP|port`. */
  readonly rows: ReadonlyMap<string, string>;
  readonly config: string;
  readonly map: string;
  /** Rows and nodes that HAProxy cannot serve and that were left out. */
  readonly leftOut: { readonly rows: number; readonly nodes: number };
};

/** Computes {@link Desired}; unchanged rows, nodes and layouts cost a look-up. */
export type Planner = (
  table: TrafficTable,
  layout: Layout,
  held: Pick<Held, 'rows' | 'servers'> | undefined,
) => Desired;

type Memo = Entry & { readonly slot: string | undefined; readonly line: string };

export function makePlanner(settings: Settings): Planner {
  const cap = defaultCap(settings.maxConnections);
  const memos = new WeakMap<Row, Memo>();
  let last: Desired | undefined;

  const memoOf = (row: Row, slot: string | undefined): Memo | undefined => {
    const known = memos.get(row);
    if (known?.slot === slot && known !== undefined) return known;
    const entry = rowEntry(row, slot, cap);
    if (entry === undefined) return undefined;
    const memo = { ...entry, slot, line: entryLine(entry) };
    memos.set(row, memo);
    return memo;
  };

  return (table, layoutNow, held) => {
    const { layout, slotOf } = assignSlots(table.rows.values(), slotHeld(held), busySlots(held), layoutNow);
    const sameNodes = last !== undefined && last.table.nodes === table.nodes;
    const nodes = sameNodes ? last!.servers.nodes : { 4: nodeServers(table, 4), 6: nodeServers(table, 6) };
    const slots = new Map<string, readonly SlotServer[]>();
    const rows = new Map<string, string>();
    const lines: string[] = [];
    for (const row of table.rows.values()) {
      const slot = slotOf.get(row.key);
      const memo = memoOf(row, slot);
      if (memo === undefined) continue;
      rows.set(memo.key, memo.value);
      lines.push(memo.line);
      if (slot !== undefined && row.backend.kind === 'own') slots.set(slot, slotServers(row.backend.servers, nodes));
    }
    const servers = { nodes, slots };
    const same = sameNodes && slots.size === 0 && last!.servers.slots.size === 0 && last!.layout === layout;
    last = {
      table,
      layout,
      identity: same ? last!.identity : identityOf(settings, layout),
      servers,
      rows,
      config: same ? last!.config : renderConfig(settings, layout, servers),
      map: lines.join(''),
      leftOut: {
        rows: table.rows.size - lines.length,
        nodes: table.nodes[4].length + table.nodes[6].length - nodes[4].length - nodes[6].length,
      },
    };
    return last;
  };
}

function slotHeld(held: Pick<Held, 'rows'> | undefined): (row: Row) => string | undefined {
  return ({ address, port }) => {
    const value = held?.rows.get(`${address.text}|${port}`);
    return value === undefined ? undefined : backendOf(value);
  };
}

/** Slots that rows point to or servers are in. */
function busySlots(held: Pick<Held, 'rows' | 'servers'> | undefined): ReadonlySet<string> {
  const busy = new Set<string>();
  for (const [backend, servers] of held?.servers ?? [])
    if (servers.size > 0 && profileOfSlot(backend) !== undefined) busy.add(backend);
  for (const value of held?.rows.values() ?? []) if (value.startsWith('slot_')) busy.add(backendOf(value));
  return busy;
}
