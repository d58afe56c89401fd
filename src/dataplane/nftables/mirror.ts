import type { Ip } from '../../core/ip/ip.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import type { TrafficTable } from '../../core/traffic/table.ts';
import { type Element, elementKey, type Entry, entryElements, vipElement } from './elements.ts';

/** What leads from one state of the kernel to another, as elements and as the rows and addresses that they stand for. */
export type Change = {
  readonly remove: readonly Element[];
  readonly add: readonly Element[];
  /** `undefined`: no longer there. */
  readonly entries: ReadonlyMap<ListenerKey, Entry | undefined>;
  readonly vips: ReadonlyMap<string, Ip | undefined>;
};

/**
 * What the kernel holds by our doing. With 10,000 rows of which one differs, `diff` takes a millisecond; a copy of the
 * maps would take three more, so there is none: only what was accepted changes them.
 */
export type Mirror = {
  /**
   * What leads from here to `table`, with `added` (none twice) as addresses of ours. Rows that kept their identity cost one
   * comparison. Throws {@link RowError} for a row that is not TCP.
   */
  diff(table: TrafficTable, added: readonly Ip[], portOf: (key: ListenerKey) => number): Change;
  /** The kernel has acknowledged a change that `diff` gave since the last one that was accepted. */
  accept(change: Change): void;
  /** All that is held. */
  elements(): readonly Element[];
};

/** A mirror of an empty table. */
export function makeMirror(): Mirror {
  const entries = new Map<ListenerKey, Entry>();
  const vips = new Map<string, Ip>();

  const diff: Mirror['diff'] = (table, added, portOf) => {
    const remove: Element[] = [];
    const add: Element[] = [];
    const changed = new Map<ListenerKey, Entry | undefined>();
    let kept = 0;
    for (const [key, row] of table.rows) {
      const before = entries.get(key);
      const proxyPort = portOf(key);
      if (before !== undefined) kept++;
      if (before?.row === row && before.proxyPort === proxyPort) continue;
      const entry = { row, proxyPort };
      const old = before === undefined ? [] : entryElements(before);
      const now = entryElements(entry);
      remove.push(...missingFrom(now, old));
      add.push(...missingFrom(old, now));
      changed.set(key, entry);
    }
    if (kept < entries.size)
      for (const [key, entry] of entries) {
        if (table.rows.has(key)) continue;
        remove.push(...entryElements(entry));
        changed.set(key, undefined);
      }
    const changedVips = diffVips(vips, added);
    for (const [text, ip] of changedVips) {
      const before = vips.get(text);
      if (ip !== undefined) add.push(vipElement(ip));
      else if (before !== undefined) remove.push(vipElement(before));
    }
    return { remove, add, entries: changed, vips: changedVips };
  };

  return {
    diff,
    accept: (change) => {
      patch(entries, change.entries);
      patch(vips, change.vips);
    },
    elements: () => [...[...entries.values()].flatMap(entryElements), ...[...vips.values()].map(vipElement)],
  };
}

function diffVips(before: ReadonlyMap<string, Ip>, after: readonly Ip[]): ReadonlyMap<string, Ip | undefined> {
  const changed = new Map<string, Ip | undefined>();
  for (const ip of after) if (!before.has(ip.text)) changed.set(ip.text, ip);
  if (before.size + changed.size > after.length) {
    const texts = new Set(after.map(({ text }) => text));
    for (const text of before.keys()) if (!texts.has(text)) changed.set(text, undefined);
  }
  return changed;
}

function patch<Key, Value>(map: Map<Key, Value>, changes: ReadonlyMap<Key, Value | undefined>): void {
  for (const [key, value] of changes) {
    if (value === undefined) map.delete(key);
    else map.set(key, value);
  }
}

function missingFrom(present: readonly Element[], elements: readonly Element[]): readonly Element[] {
  const texts = new Set(present.map(elementKey));
  return elements.filter((element) => !texts.has(elementKey(element)));
}
