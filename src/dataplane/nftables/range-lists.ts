import { createHash } from 'node:crypto';
import type { Ip } from '../../core/ip/ip.ts';
import { formatRange, type IpRange } from '../../core/ip/range.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { Listener } from '../../core/traffic/table.ts';
import { absentFrom, addressText, classText, type Element, elementKey, ListenerError } from './element.ts';
import type { ElementChange } from './mirror.ts';

/*
 * Listeners with the same source ranges share them in the kernel, so a Service with many ports has its ranges there once:
 *
 *   192.0.2.52|443|TCP ┐                 ranges4   192.0.2.52 . 443 : 0:1
 *   192.0.2.52|80|TCP  ┴─ 10.0.0.0/8     ranges4   192.0.2.52 . 80 : 0:1
 *                                        sources4  0:1 . 10.0.0.0-10.255.255.255
 *
 * A list is added with the first listener that has it and removed with the last. When all listeners of a list change to the same new
 * one, that gets the number, and only the ranges that differ are written.
 */

/** Sources that are allowed, of one family. */
export type RangeList = {
  /** The same for the same sources. */
  readonly key: string;
  readonly set: 'sources4' | 'sources6';
  readonly sources: readonly string[];
  /** The field of a packet that carries the number of the list from its lookup to that of the source. */
  readonly register: 'priority' | 'mark';
};

/** The lists in the kernel, by key. */
export type RangeLists = {
  /** The greatest number that was used. */
  readonly last: number;
  readonly byKey: PersistentMap<string, HeldList>;
};

/** `uses`: how many listeners have it. */
type HeldList = { readonly id: number; readonly uses: number; readonly list: RangeList };

export const noLists: RangeLists = { last: 0, byKey: PersistentMap.empty() };

/** The lists of an array of ranges, which its listeners share. */
const known = new WeakMap<readonly IpRange[], Map<string, RangeList>>();

/** The source ranges of a listener that has some. `alsoAllowed`: an address beside them. Throws {@link ListenerError}. */
export function rangeListOf(
  { address: { family }, key, sourceRanges = [] }: Pick<Listener, 'address' | 'key' | 'sourceRanges'>,
  register: RangeList['register'],
  alsoAllowed?: Ip,
): RangeList {
  const name = [family, register, alsoAllowed?.text ?? ''].join(' ');
  const lists = known.get(sourceRanges) ?? new Map<string, RangeList>();
  const same = lists.get(name);
  if (same !== undefined) return same;
  const stranger = sourceRanges.find((range) => range.family !== family);
  if (stranger !== undefined) throw new ListenerError(`${key}: a source range of IPv${stranger.family}`);
  const sources = [...sourceRanges.map(formatRange), ...(alsoAllowed === undefined ? [] : [addressText(alsoAllowed)])];
  const digest = createHash('sha256').update(sources.join(' ')).digest('base64url');
  const list: RangeList = { key: `${family} ${digest}`, set: `sources${family}`, sources, register };
  known.set(sourceRanges, lists.set(name, list));
  return list;
}

/** The elements of a change for a kernel with the lists `before`, with numbers and sources of the lists; and the lists after it. */
export function resolveChange(
  before: RangeLists,
  { remove, add }: ElementChange,
): { readonly change: ElementChange; readonly lists: RangeLists } {
  const uses = countUses(before, { remove, add });
  if (uses.size === 0) return { change: { remove, add }, lists: before };
  const heirs = heirsIn(before, { remove, add }, uses);
  let { last } = before;
  const held = new Map<string, HeldList | undefined>();
  const [ended, begun]: [Element[], Element[]] = [[], []];
  for (const [key, { list, count }] of uses) {
    const former = before.byKey.get(key);
    const next = count === 0 ? undefined : { id: former?.id ?? heirs.get(key) ?? ++last, uses: count, list };
    held.set(key, next);
    if (former !== undefined && next === undefined) ended.push(...sourceElements(former));
    if (former === undefined && next !== undefined) begun.push(...sourceElements(next));
  }
  const lists = { last, byKey: before.byKey.with(held) };
  const old = [...ended, ...remove.map((element) => numbered(before, element))];
  const now = [...begun, ...add.map((element) => numbered(lists, element))];
  return { change: { remove: absentFrom(now, old), add: absentFrom(old, now) }, lists };
}

/** How many listeners have each list of a change after it. */
function countUses(
  { byKey }: RangeLists,
  { remove, add }: ElementChange,
): ReadonlyMap<string, { readonly list: RangeList; count: number }> {
  const uses = new Map<string, { readonly list: RangeList; count: number }>();
  const count = (list: RangeList | undefined, by: number): void => {
    if (list === undefined) return;
    const use = uses.get(list.key) ?? { list, count: byKey.get(list.key)?.uses ?? 0 };
    use.count += by;
    uses.set(list.key, use);
  };
  for (const { list } of remove) count(list, -1);
  for (const { list } of add) count(list, 1);
  return uses;
}

/** New lists that a listener has in place of one that ends, with the number of that one. */
function heirsIn(
  { byKey }: RangeLists,
  { remove, add }: ElementChange,
  uses: ReturnType<typeof countUses>,
): ReadonlyMap<string, number> {
  const ending = new Map<string, number>();
  for (const { set, text, list } of remove) {
    const former = list && uses.get(list.key)?.count === 0 ? byKey.get(list.key) : undefined;
    if (former !== undefined) ending.set(elementKey({ set, text }), former.id);
  }
  const heirs = new Map<string, number>();
  const inherited = new Set<number>();
  for (const { set, text, list } of add) {
    const id = ending.get(elementKey({ set, text }));
    if (list === undefined || id === undefined || byKey.has(list.key) || heirs.has(list.key) || inherited.has(id))
      continue;
    heirs.set(list.key, id);
    inherited.add(id);
  }
  return heirs;
}

/** An element as it is in a kernel that has these lists. */
export function numbered({ byKey }: RangeLists, { set, text, list }: Element): Element {
  if (list === undefined) return { set, text };
  const held = byKey.get(list.key);
  if (held === undefined) throw new Error(`${set} ${text}: the kernel has no such ranges`);
  return { set, text: `${text} : ${idText(held)}` };
}

export function sourceElements(held: HeldList): readonly Element[] {
  const { set, sources } = held.list;
  const id = idText(held);
  return sources.map((source) => ({ set, text: `${id} . ${source}` }));
}

function idText({ id, list }: HeldList): string {
  return list.register === 'mark' ? id.toFixed(0) : classText(id);
}
