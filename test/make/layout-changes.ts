import type { Listeners } from '../../src/core/traffic/table.ts';
import { elementKey } from '../../src/dataplane/nftables/element.ts';
import {
  allElements,
  type ChangePart,
  changeOf,
  differenceTo,
  emptyMirror,
  type Layout,
  type Mirror,
  withParts,
} from '../../src/dataplane/nftables/mirror.ts';

/**
 * Changes from program to program, of which nft accepts some: pairs that must be the same. After each change the elements in the kernel
 * and those of the mirror; then the changes that are still to be made and those that were refused; and the elements of the goal and of
 * all changes together. Throws if a change removes a missing element or adds an existing one.
 */
export function* changesThrough<T extends { readonly listeners: Listeners }>(
  layout: Layout<T>,
  programs: readonly T[],
  accepts: (change: ChangePart) => boolean,
): Generator<readonly [unknown, unknown]> {
  const keysOf = (of: Mirror<T>): readonly string[] => allElements(layout, of).map(elementKey).toSorted();
  let mirror = emptyMirror(layout);
  const kernel = new Set<string>();
  for (const program of programs) {
    const target = { ...program, listeners: withUnchanged(mirror.target.listeners, program.listeners) };
    const { parts, start, goal } = differenceTo(layout, target, mirror);
    const { accepted = [], refused = [] } = Object.groupBy(parts, (part) =>
      part.listener === undefined || accepts(part) ? 'accepted' : 'refused',
    );
    mirror = start;
    yield [[...kernel].toSorted(), keysOf(mirror)];
    for (const part of accepted) {
      const { remove, add } = changeOf(mirror.lists, [part]);
      for (const each of remove.map(elementKey)) if (!kernel.delete(each)) throw new Error(`${each} is missing`);
      for (const each of add.map(elementKey)) {
        if (kernel.has(each)) throw new Error(`${each} exists`);
        kernel.add(each);
      }
      mirror = withParts(layout, mirror, target, [part]);
      yield [[...kernel].toSorted(), keysOf(mirror)];
    }
    yield [byListener(differenceTo(layout, target, mirror).parts), byListener(refused)];
    yield [keysOf(goal), keysOf(withParts(layout, start, target, parts))];
  }
}

/** As in one process, where a listener with the same policy stays the same object. */
function withUnchanged(before: Listeners, now: Listeners): Listeners {
  return now.with([...before].filter(([key, { revision }]) => now.get(key)?.revision === revision));
}

function byListener(parts: readonly ChangePart[]): readonly ChangePart[] {
  return parts.toSorted((a, b) => ((a.listener ?? '') < (b.listener ?? '') ? -1 : 1));
}
