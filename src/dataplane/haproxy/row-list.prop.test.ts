import fc from 'fast-check';
import { expect, test } from 'vitest';
import { row } from '../../../test/netns/rows.ts';
import type { Row } from '../../core/traffic/table.ts';
import { makeHeldRows, type RowChange } from './held-rows.ts';
import { emptyList, nextList, type RowList } from './row-list.ts';
import { type Entry, entryLine, rowEntry } from './rows.ts';

/** Twelve places for rows, three variants of each (another nodePort; the last one cannot be served). */
const pool: readonly Row[] = Array.from({ length: 36 }, (_, index) =>
  row(`10.0.0.${index % 12}`, 80, [30_000, 30_001, 0][Math.floor(index / 12)] ?? 0),
);
const someRows = fc
  .shuffledSubarray([...pool])
  .map((rows) => [...new Map(rows.map((each) => [each.key, each])).values()]);
const history = fc.array(
  fc.oneof(
    someRows,
    someRows.map((rows) => rows.sort((a, b) => (a.key < b.key ? -1 : 1))),
  ),
);

const render = (each: Row): Entry | undefined => rowEntry(each, () => 'slot', 100);

test('a list made after another is the same as one made from nothing', () => {
  fc.assert(
    fc.property(history, (tables) => {
      let list: RowList = emptyList;
      for (const rows of tables) {
        list = nextList(list, rows, render);
        const served = rows.filter((each) => render(each) !== undefined);
        expect(list.rows).toEqual(served);
        expect(list.entries).toEqual(served.map(render));
        expect(list.text).toBe(list.entries.map(entryLine).join(''));
      }
    }),
  );
});

test('rows that stay keep their entries, and a list that stays is the same object', () => {
  const [a, b, c] = pool.slice(0, 3);
  if (a === undefined || b === undefined || c === undefined) throw new Error('three rows');
  const first = nextList(emptyList, [a, b, c], render);
  expect(nextList(first, [a, b, c], () => expect.unreachable())).toBe(first);
  expect(nextList(first, [a, c], () => expect.unreachable()).entries).toEqual([first.entries[0], first.entries[2]]);
});

test('a line that is the end of another one is not taken for it', () => {
  const long = row('110.0.0.1', 80, 30_000);
  const short = row('10.0.0.1', 80, 30_000);
  const first = nextList(emptyList, [long, short], render);
  expect(nextList(first, [long], render).text).toBe('110.0.0.1|80 nodes4|30000|100\n');
  expect(nextList(first, [short], render).text).toBe('10.0.0.1|80 nodes4|30000|100\n');
});

test('after the upserts the map holds all that is wanted, after a prune nothing else', () => {
  const start = fc
    .subarray([...pool])
    .map((rows) => new Map(rows.map((each) => [`10.0.0.${rows.indexOf(each)}|80`, 'x'])));
  const step = fc.record({ rows: someRows, how: fc.constantFrom('upsert', 'prune', 'both') });
  fc.assert(
    fc.property(start, fc.array(step), (initial, steps) => {
      const map = new Map(initial);
      const held = makeHeldRows(new Map(initial));
      let list: RowList = emptyList;
      for (const { rows, how } of steps) {
        const before = new Map(map);
        list = nextList(list, rows, render);
        if (how !== 'prune') for (const change of held.upserts(list.entries)) carryOut(map, change);
        if (how !== 'upsert') for (const change of held.prune(list.entries)) carryOut(map, change);
        const wanted = new Map(list.entries.map(({ key, value }) => [key, value]));
        expect(map).toEqual(how === 'upsert' ? new Map([...before, ...wanted]) : wanted);
        expect(held.values).toEqual(map);
      }
    }),
  );
});

/** As strict as HAProxy is lenient: it takes a second entry for a key. */
function carryOut(map: Map<string, string>, change: RowChange): void {
  expect(map.has(change.key)).toBe(change.do !== 'add');
  if (change.do === 'del') map.delete(change.key);
  else map.set(change.key, change.value);
}
