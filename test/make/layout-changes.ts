import type { TrafficTable } from '../../src/core/traffic/table.ts';
import { elementKey } from '../../src/dataplane/nftables/element.ts';
import {
  allElements,
  type ChangePart,
  changeOf,
  differenceTo,
  emptyMirror,
  type Layout,
  withParts,
} from '../../src/dataplane/nftables/mirror.ts';

/**
 * Changes from program to program, of which nft accepts those of some listeners: the elements in the kernel after each, and those of
 * the mirror. Throws if one removes a missing element.
 */
export function* changesThrough<T extends { readonly listeners: TrafficTable['listeners'] }>(
  layout: Layout<T>,
  programs: readonly T[],
  accepts: (listener: ChangePart['listener']) => boolean,
): Generator<{ readonly kernel: readonly string[]; readonly mirrored: readonly string[] }> {
  let mirror = emptyMirror(layout);
  const kernel = new Set<string>();
  const both = () => ({
    kernel: [...kernel].toSorted(),
    mirrored: allElements(layout, mirror).map(elementKey).toSorted(),
  });
  for (const target of programs) {
    const { parts, start } = differenceTo(layout, target, mirror);
    mirror = start;
    yield both();
    for (const part of parts.filter(({ listener }) => listener === undefined || accepts(listener))) {
      const { remove, add } = changeOf(mirror.lists, [part]);
      for (const element of remove)
        if (!kernel.delete(elementKey(element))) throw new Error(`${elementKey(element)} is missing`);
      for (const element of add) kernel.add(elementKey(element));
      mirror = withParts(layout, mirror, target, [part]);
    }
    yield both();
  }
}
