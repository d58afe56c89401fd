import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ipOf, maxValue } from '../../core/ip/ip.ts';
import { type IpRange, mergeRanges } from '../../core/ip/range.ts';
import { addressesOf, listener as makeListener, tableOf } from '../../../test/make/table.ts';
import { serviceKey } from '../../core/model/names.ts';
import type { Listener } from '../../core/traffic/table.ts';
import type { SteeringTarget } from '../../ports/steering.ts';
import { elementKey } from './element.ts';
import {
  allElements,
  changeOf,
  differenceTo,
  type ElementChange,
  emptyMirror,
  type Mirror,
  withParts,
} from './mirror.ts';
import { noLists } from './range-lists.ts';
import { steeringRules, steeringTable } from './ruleset.ts';
import { renderChange, renderTable } from './table-text.ts';
import { steeringLayout } from './steering-layout.ts';

const family = fc.constantFrom(4 as const, 6 as const);
const range = (of: 4 | 6): fc.Arbitrary<IpRange> =>
  fc
    .tuple(fc.bigInt({ min: 0n, max: maxValue(of) }), fc.bigInt({ min: 0n, max: maxValue(of) }))
    .map(([a, b]) => ({ family: of, first: a < b ? a : b, last: a < b ? b : a }));

/** Few addresses and ports, so that tables overlap; names as a user may write them. */
const listener: fc.Arbitrary<Listener> = family.chain((of) =>
  fc
    .record({
      value: fc.bigInt({ min: 1n, max: 5n }),
      port: fc.integer({ min: 1, max: 4 }),
      ranges: fc.option(fc.array(range(of), { maxLength: 3 }), { nil: undefined }),
      service: fc.string(),
      dataplane: fc.constantFrom('haproxy', 'haproxy', 'direct'),
    })
    .map(({ value, port, ranges, service, dataplane }) =>
      makeListener(ipOf(of, value).text, port, 30_000, {
        service: serviceKey('ns', service),
        dataplane,
        sourceRanges: ranges === undefined ? undefined : mergeRanges(ranges),
      }),
    ),
);
const textsOf = (listeners: readonly Listener[]): readonly string[] => listeners.map(({ address }) => address.text);
const targetOf = (
  listeners: readonly Listener[],
  vips: readonly Listener[] = [],
  own: readonly Listener[] = [],
): SteeringTarget => ({
  listeners: tableOf(listeners).listeners,
  serverless: new Set(listeners.filter(({ port }) => port % 2 === 0).map(({ key }) => key)),
  vips: addressesOf(...textsOf(vips)),
  own: new Map(own.map(({ address }) => [address.text, address])),
  portOf: ({ port }) => 10_000 + port,
});
const anyTarget: fc.Arbitrary<SteeringTarget> = fc
  .tuple(fc.array(listener), fc.array(listener), fc.array(listener))
  .map(([listeners, vips, own]) => targetOf(listeners, vips, own));

test('changes lead from table to table, whatever is refused in between, and remove only existing elements', () => {
  const steps = fc.array(fc.tuple(anyTarget, fc.func(fc.boolean())), { maxLength: 5 });
  fc.assert(
    fc.property(steps, (states) => {
      let mirror: Mirror<SteeringTarget> = emptyMirror(steeringLayout);
      const kernel = new Set<string>();
      for (const [target, accepts] of states) {
        const { parts, start, goal } = differenceTo(steeringLayout, target, mirror);
        const accepted = parts.filter((part) => part.listener === undefined || accepts(part));
        const expected = new Map(parts.map((part) => [part.listener, part]));
        mirror = start;
        expect([...kernel].toSorted()).toEqual(keysOf(mirror));
        for (const part of accepted) {
          applyTo(kernel, changeOf(mirror.lists, [part]));
          mirror = withParts(steeringLayout, mirror, target, [part]);
          expect([...kernel].toSorted()).toEqual(keysOf(mirror));
        }
        // Only the refused changes are still to be made.
        for (const part of differenceTo(steeringLayout, target, mirror).parts)
          expect(part).toEqual(expected.get(part.listener));
        expect(differenceTo(steeringLayout, target, mirror).parts.length).toBe(parts.length - accepted.length);
        expect(keysOf(goal)).toEqual(keysOf(withParts(steeringLayout, start, target, parts)));
      }
    }),
  );
});

function keysOf(mirror: Mirror<SteeringTarget>): readonly string[] {
  return allElements(steeringLayout, mirror).map(elementKey).toSorted();
}

function applyTo(kernel: Set<string>, { remove, add }: ElementChange): void {
  for (const element of remove) expect(kernel.delete(elementKey(element))).toBe(true);
  for (const element of add) {
    expect(kernel.has(elementKey(element))).toBe(false);
    kernel.add(elementKey(element));
  }
}

test('no table, whatever the names of its Services, renders anything but addresses, ports and ranges', () => {
  fc.assert(
    fc.property(anyTarget, (state) => {
      const change = changeOf(noLists, differenceTo(steeringLayout, state, emptyMirror(steeringLayout)).parts);
      for (const { text } of change.add) expect(text).toMatch(/^[0-9a-f:.-]+(?: [.:] [0-9a-f:.-]+)*$/);
      expect(renderChange(steeringTable, change, 1, 2)).not.toContain('\n');
    }),
  );
});

test('the same table gives the same bytes, whatever the order of its listeners', () => {
  fc.assert(
    fc.property(fc.array(listener), (listeners) => {
      const unique = [...new Map(listeners.map((one) => [one.key, one])).values()];
      const render = (order: readonly Listener[]): string =>
        renderTable(
          steeringTable,
          allElements(steeringLayout, differenceTo(steeringLayout, targetOf(order), emptyMirror(steeringLayout)).goal),
          1,
          steeringRules({ hasOwnAddresses: false, isBridgeFiltered: false, hasFormerNat: false }),
        );
      expect(render(unique.toReversed())).toBe(render(unique));
    }),
  );
});
