import type { Ip } from '../../core/ip/ip.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { Row } from '../../core/traffic/table.ts';
import type { Addresses } from '../../ports/host.ts';
import { type Element, elementKey, entryElements, vipElement } from './elements.ts';

/** What the kernel holds by our doing. Immutable. */
export type Mirror = {
  readonly rows: PersistentMap<ListenerKey, Row>;
  /** Addresses of ours, where all but listeners is refused. */
  readonly vips: Addresses;
  /** The host's own addresses; the same object as long as they are the same. */
  readonly own: ReadonlyMap<string, Ip>;
  /** Where HAProxy listens for a row: the same port for the same row. */
  readonly portOf: (row: Row) => number;
};

export const emptyMirror: Mirror = {
  rows: PersistentMap.empty(),
  vips: PersistentMap.empty(),
  own: new Map(),
  portOf: () => 0,
};

/** What leads from one state of the kernel to another. */
export type Change = { readonly remove: readonly Element[]; readonly add: readonly Element[] };

/** What leads from `before` to `after`; looks only at what differs. Throws {@link RowError} for a row that is not TCP. */
export function diffMirrors(before: Mirror, after: Mirror): Change {
  const remove: Element[] = [];
  const add: Element[] = [];
  const keys = new Set(PersistentMap.changedKeys(before.rows, after.rows));
  if (before.own !== after.own)
    for (const [key, { sourceRanges }] of after.rows) if (sourceRanges !== undefined) keys.add(key);
  for (const key of keys) {
    const old = elementsOf(before, key);
    const now = elementsOf(after, key);
    remove.push(...missingFrom(now, old));
    add.push(...missingFrom(old, now));
  }
  for (const text of PersistentMap.changedKeys(before.vips, after.vips)) {
    const [old, now] = [before.vips.get(text), after.vips.get(text)];
    if (old === undefined && now !== undefined) add.push(vipElement(now));
    if (old !== undefined && now === undefined) remove.push(vipElement(old));
  }
  return { remove, add };
}

/** All that is held. */
export function allElements(mirror: Mirror): readonly Element[] {
  return diffMirrors(emptyMirror, mirror).add;
}

function elementsOf({ rows, portOf, own }: Mirror, key: ListenerKey): readonly Element[] {
  const row = rows.get(key);
  return row === undefined ? [] : entryElements({ row, proxyPort: portOf(row), own });
}

function missingFrom(present: readonly Element[], elements: readonly Element[]): readonly Element[] {
  const texts = new Set(present.map(elementKey));
  return elements.filter((element) => !texts.has(elementKey(element)));
}
