import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ipOf, maxValue } from '../../core/ip/ip.ts';
import { type IpRange, mergeRanges } from '../../core/ip/range.ts';
import { changesThrough } from '../../../test/make/layout-changes.ts';
import { addressesOf, listener as makeListener, tableOf } from '../../../test/make/table.ts';
import { serviceKey } from '../../core/model/names.ts';
import type { Listener } from '../../core/traffic/table.ts';
import type { SteeringTarget } from '../../ports/steering.ts';
import { allElements, changeOf, differenceTo, emptyMirror } from './mirror.ts';
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
  fc.assert(
    fc.property(fc.array(anyTarget, { maxLength: 5 }), fc.func(fc.boolean()), (all, accepts) => {
      for (const [found, expected] of changesThrough(steeringLayout, all, accepts)) expect(found).toEqual(expected);
    }),
  );
});

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
