import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ipOf, maxValue } from '../../core/ip/ip.ts';
import { type IpRange, mergeRanges } from '../../core/ip/range.ts';
import { serviceKey } from '../../core/model/names.ts';
import { emptyTable, listenerKey, type Row } from '../../core/traffic/table.ts';
import { diffWanted, elementKey, elementsOf, type Wanted, wantedOf } from './elements.ts';
import { renderChange, renderRuleset } from './ruleset.ts';

const family = fc.constantFrom(4 as const, 6 as const);
const range = (of: 4 | 6): fc.Arbitrary<IpRange> =>
  fc
    .tuple(fc.bigInt({ min: 0n, max: maxValue(of) }), fc.bigInt({ min: 0n, max: maxValue(of) }))
    .map(([a, b]) => ({ family: of, first: a < b ? a : b, last: a < b ? b : a }));

/** Few addresses and ports, so that tables overlap; names as a user may write them. */
const row: fc.Arbitrary<Row> = family.chain((of) =>
  fc
    .record({
      value: fc.bigInt({ min: 1n, max: 5n }),
      port: fc.integer({ min: 1, max: 4 }),
      ranges: fc.option(fc.array(range(of), { maxLength: 3 }), { nil: undefined }),
      service: fc.string(),
    })
    .map(({ value, port, ranges, service }) => {
      const address = ipOf(of, value);
      return {
        key: listenerKey(address, port, 'TCP'),
        address,
        protocol: 'TCP',
        port,
        service: serviceKey('ns', service),
        backend: { kind: 'nodes', family: of, nodePort: 30_000 },
        sourceRanges: ranges === undefined ? undefined : mergeRanges(ranges),
        maxConnections: undefined,
      };
    }),
);
const wanted: fc.Arbitrary<Wanted> = fc
  .tuple(fc.array(row), fc.array(row), fc.integer({ min: 1, max: 2 }))
  .map(([rows, hosted, proxyPort]) =>
    wantedOf(
      { ...emptyTable, rows: new Map(rows.map((one) => [one.key, one])) },
      hosted.map(({ address }) => address),
      () => proxyPort,
    ),
  );
const keysOf = (state: Wanted): readonly string[] => elementsOf(state).map(elementKey).toSorted();

test('a difference leads from what is held to what is wanted, and removes nothing that is not there', () => {
  fc.assert(
    fc.property(wanted, wanted, (held, next) => {
      const { remove, add } = diffWanted(held, next);
      const kernel = new Set(keysOf(held));
      for (const element of remove) expect(kernel.delete(elementKey(element))).toBe(true);
      for (const element of add) {
        expect(kernel.has(elementKey(element))).toBe(false);
        kernel.add(elementKey(element));
      }
      expect([...kernel].toSorted()).toEqual(keysOf(next));
    }),
  );
});

test('no table, whatever the names of its Services, renders anything but addresses, ports and ranges', () => {
  fc.assert(
    fc.property(wanted, (state) => {
      for (const { text } of elementsOf(state)) expect(text).toMatch(/^[0-9a-f:.-]+(?: [.:] [0-9a-f:.-]+)*$/);
      expect(
        renderChange(
          diffWanted(
            wantedOf(emptyTable, [], () => 1),
            state,
          ),
          1,
          2,
        ),
      ).not.toContain('\n');
    }),
  );
});

test('the same table gives the same bytes, whatever the order of its rows', () => {
  fc.assert(
    fc.property(fc.array(row), (rows) => {
      const unique = [...new Map(rows.map((one) => [one.key, one])).values()];
      const render = (order: readonly Row[]): string => {
        const table = { ...emptyTable, rows: new Map(order.map((one) => [one.key, one])) };
        return renderRuleset(elementsOf(wantedOf(table, [], () => 10_000)), 1);
      };
      expect(render(unique.toReversed())).toBe(render(unique));
    }),
  );
});
