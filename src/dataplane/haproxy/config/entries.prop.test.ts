import fc from 'fast-check';
import { expect, test } from 'vitest';
import { listener } from '../../../../test/make/table.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import type { Listener } from '../../../core/traffic/table.ts';
import { type Entries, type MapEntry, type EntryChange, entryOf, makeHeldEntries } from './entries.ts';

/** Twelve places for listeners, three variants of each (another target port; the last one cannot be served). */
const pool: readonly Listener[] = Array.from({ length: 36 }, (_, index) =>
  listener(`10.0.0.${index % 12}`, 80, [30_000, 30_001, 0][Math.floor(index / 12)] ?? 0),
);
const someListeners = fc
  .shuffledSubarray([...pool])
  .map((rows) => [...new Map(rows.map((each) => [each.key, each])).values()]);
function entriesOf(listeners: readonly Listener[]): Entries {
  return PersistentMap.empty<Listener['key'], MapEntry>().with(
    listeners.map((each) => {
      const entry = entryOf(each, new Map());
      return [each.key, 'key' in entry ? entry : undefined];
    }),
  );
}

test('after the upserts the map contains all wanted entries, after a prune only those', () => {
  const start = fc
    .subarray([...pool])
    .map((rows) => new Map(rows.map((each) => [`10.0.0.${rows.indexOf(each)}|80`, 'x'])));
  const step = fc.record({ rows: someListeners, how: fc.constantFrom('upsert', 'prune', 'both') });
  fc.assert(
    fc.property(start, fc.array(step), (initial, steps) => {
      const map = new Map(initial);
      const held = makeHeldEntries(new Map(initial));
      for (const { rows, how } of steps) {
        const before = new Map(map);
        const entries = entriesOf(rows);
        if (how !== 'prune') for (const change of held.upserts(entries)) carryOut(map, change);
        if (how !== 'upsert') for (const change of held.prune(entries)) carryOut(map, change);
        const wanted = new Map(Array.from(entries.values(), ({ key, value }) => [key, value]));
        expect(map).toEqual(how === 'upsert' ? new Map([...before, ...wanted]) : wanted);
        expect(held.values).toEqual(map);
      }
    }),
  );
});

/** Strict where HAProxy is lenient: HAProxy accepts a second entry with the same key. */
function carryOut(map: Map<string, string>, change: EntryChange): void {
  expect(map.has(change.key)).toBe(change.do !== 'add');
  if (change.do === 'del') map.delete(change.key);
  else map.set(change.key, change.value);
}
