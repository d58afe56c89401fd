import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ipOf, maxValue } from '../../core/ip/ip.ts';
import { type IpRange, mergeRanges } from '../../core/ip/range.ts';
import { serviceKey } from '../../core/model/names.ts';
import { emptyTable, listenerKey, type Row, tableOf } from '../../core/traffic/table.ts';
import { elementKey } from './elements.ts';
import { allElements, diffMirrors, emptyMirror, type Mirror } from './mirror.ts';
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
const mirrorOf = (rows: readonly Row[], vips: readonly Row[] = [], own: readonly Row[] = []): Mirror => ({
  rows: tableOf(rows, emptyTable.nodes).rows,
  vips: tableOf(vips, emptyTable.nodes).hosted,
  own: new Map(own.map(({ address }) => [address.text, address])),
  portOf: ({ port }) => 10_000 + port,
});
const anyMirror: fc.Arbitrary<Mirror> = fc
  .tuple(fc.array(row), fc.array(row), fc.array(row))
  .map(([rows, hosted, own]) => mirrorOf(rows, hosted, own));

test('changes lead from table to table, and remove nothing that is not there', () => {
  fc.assert(
    fc.property(fc.array(anyMirror, { maxLength: 5 }), (states) => {
      let mirror = emptyMirror;
      const kernel = new Set<string>();
      for (const state of states) {
        const change = diffMirrors(mirror, state);
        for (const element of change.remove) expect(kernel.delete(elementKey(element))).toBe(true);
        for (const element of change.add) {
          expect(kernel.has(elementKey(element))).toBe(false);
          kernel.add(elementKey(element));
        }
        mirror = state;
        expect([...kernel].toSorted()).toEqual(allElements(state).map(elementKey).toSorted());
      }
    }),
  );
});

test('no table, whatever the names of its Services, renders anything but addresses, ports and ranges', () => {
  fc.assert(
    fc.property(anyMirror, (state) => {
      const change = diffMirrors(emptyMirror, state);
      for (const { text } of change.add) expect(text).toMatch(/^[0-9a-f:.-]+(?: [.:] [0-9a-f:.-]+)*$/);
      expect(renderChange(change, 1, 2)).not.toContain('\n');
    }),
  );
});

test('the same table gives the same bytes, whatever the order of its rows', () => {
  fc.assert(
    fc.property(fc.array(row), (rows) => {
      const unique = [...new Map(rows.map((one) => [one.key, one])).values()];
      const render = (order: readonly Row[]): string => renderRuleset(allElements(mirrorOf(order)), 1);
      expect(render(unique.toReversed())).toBe(render(unique));
    }),
  );
});
