import { messageOf } from '../../async/error-words.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { Listener, TrafficTable } from '../../core/traffic/table.ts';
import { absentFrom, type Element, ListenerError } from './element.ts';
import { noLists, numbered, type RangeLists, resolveChange, sourceElements } from './range-lists.ts';

/** What a table should contain: at least listeners. Compared by the identity of its parts. */
type TableTarget = { readonly listeners: TrafficTable['listeners'] };

/** How a target becomes elements. Pure. */
export type Layout<T extends TableTarget> = {
  readonly empty: T;
  /** Throws {@link ListenerError}. */
  elementsOf(target: T, listener: Listener): readonly Element[];
  /** Listeners that are the same in both, and whose elements may differ. */
  mayDiffer(before: T, after: T): Iterable<ListenerKey>;
  /** The elements that belong to no listener. */
  rest(target: T): readonly Element[];
  restChange(before: T, after: T): ElementChange;
  /** `target` with the rest of `other`. */
  withRestOf(target: T, other: T): T;
};

/** The contents of the kernel: those of a target, except for some listeners. */
export type Mirror<T extends TableTarget> = {
  readonly target: T;
  /** The elements of listeners that differ from `target`: the last accepted ones, perhaps none. */
  readonly kept: ReadonlyMap<ListenerKey, readonly Element[]>;
  /** The source ranges of all these listeners. */
  readonly lists: RangeLists;
};

/** The difference between two states of the kernel. */
export type ElementChange = { readonly remove: readonly Element[]; readonly add: readonly Element[] };

/** A change and its subject: one listener, or (`undefined`) the rest. */
export type ChangePart = ElementChange & { readonly listener: ListenerKey | undefined };

export type Difference<T extends TableTarget> = {
  /** One for each listener that differs, and the last one for the rest if it does. */
  readonly parts: readonly ChangePart[];
  /** Listeners that nftables cannot serve, each with the cause. */
  readonly refused: ReadonlyMap<ListenerKey, string>;
  /** The present kernel relative to the new target, with all differences. */
  readonly start: Mirror<T>;
  /** The kernel with all parts in force. */
  readonly goal: Mirror<T>;
};

export function emptyMirror<T extends TableTarget>({ empty }: Layout<T>): Mirror<T> {
  return { target: empty, kept: new Map(), lists: noLists };
}

/** The change from the present kernel to `target`; inspects only the differences. */
export function differenceTo<T extends TableTarget>(layout: Layout<T>, target: T, before: Mirror<T>): Difference<T> {
  const parts: ChangePart[] = [];
  const refused = new Map<ListenerKey, string>();
  const kept = new Map<ListenerKey, readonly Element[]>();
  const changed = new Set([
    ...PersistentMap.changedKeys(before.target.listeners, target.listeners),
    ...before.kept.keys(),
    ...layout.mayDiffer(before.target, target),
  ]);
  for (const key of changed) {
    const old = elementsOf(layout, before, key);
    try {
      const now = elementsOf(layout, { target, kept: new Map() }, key);
      const [remove, add] = [absentFrom(now, old), absentFrom(old, now)];
      if (remove.length + add.length === 0) continue;
      parts.push({ listener: key, remove, add });
    } catch (error) {
      if (!(error instanceof ListenerError)) throw error;
      refused.set(key, messageOf(error));
    }
    kept.set(key, old);
  }
  const rest = layout.restChange(before.target, target);
  if (rest.remove.length + rest.add.length > 0) parts.push({ listener: undefined, ...rest });
  const start = { target: layout.withRestOf(target, before.target), kept, lists: before.lists };
  return { parts, refused, start, goal: withParts(layout, start, target, parts) };
}

/** The mirror after these parts of a change to `target` are in force. */
export function withParts<T extends TableTarget>(
  layout: Layout<T>,
  mirror: Mirror<T>,
  target: T,
  parts: readonly ChangePart[],
): Mirror<T> {
  const kept = new Map(mirror.kept);
  for (const { listener } of parts) if (listener !== undefined) kept.delete(listener);
  const hasRest = parts.some(({ listener }) => listener === undefined);
  const { lists } = resolveChange(mirror.lists, joined(parts));
  return { target: hasRest ? target : layout.withRestOf(target, mirror.target), kept, lists };
}

/** All parts as one change of a kernel that has these source ranges. */
export function changeOf(lists: RangeLists, parts: readonly ChangePart[]): ElementChange {
  return resolveChange(lists, joined(parts)).change;
}

function joined(parts: readonly ChangePart[]): ElementChange {
  return { remove: parts.flatMap(({ remove }) => remove), add: parts.flatMap(({ add }) => add) };
}

/** All elements in the kernel. */
export function allElements<T extends TableTarget>(layout: Layout<T>, mirror: Mirror<T>): readonly Element[] {
  const { target, kept, lists } = mirror;
  const elements = Array.from(target.listeners.keys()).flatMap((key) => elementsOf(layout, mirror, key));
  for (const [key, left] of kept) if (!target.listeners.has(key)) elements.push(...left);
  const sources = Array.from(lists.byKey.values()).flatMap(sourceElements);
  return [...elements.map((element) => numbered(lists, element)), ...sources, ...layout.rest(target)];
}

function elementsOf<T extends TableTarget>(
  layout: Layout<T>,
  { target, kept }: Pick<Mirror<T>, 'target' | 'kept'>,
  key: ListenerKey,
): readonly Element[] {
  const listener = target.listeners.get(key);
  return kept.get(key) ?? (listener === undefined ? [] : layout.elementsOf(target, listener));
}
