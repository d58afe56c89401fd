import fc from 'fast-check';
import { expect } from 'vitest';
import type { TrafficTable } from '../../src/core/traffic/table.ts';
import { elementKey } from '../../src/dataplane/nftables/element.ts';
import {
  allElements,
  changeOf,
  differenceTo,
  emptyMirror,
  type Layout,
  withParts,
} from '../../src/dataplane/nftables/mirror.ts';

/** Whether changes lead from program to program, whatever nft refuses in between, and remove only elements that are there. */
export function assertChangesLead<T extends { readonly listeners: TrafficTable['listeners'] }>(
  layout: Layout<T>,
  programs: fc.Arbitrary<readonly T[]>,
): void {
  fc.assert(
    fc.property(programs, fc.func(fc.boolean()), (all, accepts) => {
      let mirror = emptyMirror(layout);
      const kernel = new Set<string>();
      const expectSame = (): void =>
        expect([...kernel].toSorted()).toEqual(allElements(layout, mirror).map(elementKey).toSorted());
      for (const target of all) {
        const { parts, start } = differenceTo(layout, target, mirror);
        mirror = start;
        expectSame();
        for (const part of parts.filter(({ listener }) => listener === undefined || accepts(listener))) {
          const { remove, add } = changeOf(mirror.lists, [part]);
          for (const element of remove) expect(kernel.delete(elementKey(element))).toBe(true);
          for (const element of add) kernel.add(elementKey(element));
          mirror = withParts(layout, mirror, target, [part]);
        }
        expectSame();
      }
    }),
    { numRuns: 50 },
  );
}
