import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PersistentMap } from './persistent-map.ts';

/** Few keys, so that they meet; one is `__proto__`, some are long, one is empty. */
const key = fc.constantFrom(
  '',
  'a',
  'b',
  'a|80',
  '__proto__',
  'é',
  'x'.repeat(300),
  ...Array.from({ length: 40 }, (_, n) => `k${n}`),
);
const changes = fc.array(fc.tuple(key, fc.constantFrom(1, 2, undefined)));
const content = (map: ReadonlyMap<string, number>): ReadonlyMap<string, number> => new Map(map);

function changed(
  before: ReadonlyMap<string, number>,
  steps: readonly (readonly [string, number | undefined])[],
): Map<string, number> {
  const after = new Map(before);
  for (const [name, value] of steps) {
    if (value === undefined) after.delete(name);
    else after.set(name, value);
  }
  return after;
}

test('is what a Map would be, and stays what it was when a changed one is made of it', () => {
  fc.assert(
    fc.property(fc.array(changes, { maxLength: 6 }), (history) => {
      let map = PersistentMap.empty<string, number>();
      for (const steps of history) {
        const before = content(map);
        const next = map.with(steps);
        expect(content(map)).toEqual(before);
        const wanted = changed(before, steps);
        expect(content(next)).toEqual(wanted);
        expect(next.size).toBe(wanted.size);
        expect([...next.keys()]).toEqual([...next].map(([name]) => name));
        expect([...next.values()]).toEqual([...next].map(([, value]) => value));
        for (const [name] of steps)
          expect([next.get(name), next.has(name)]).toEqual([wanted.get(name), wanted.has(name)]);
        map = next;
      }
    }),
  );
});

test('finds which keys differ, and is the same object when none does', () => {
  fc.assert(
    fc.property(changes, changes, (first, second) => {
      const before = PersistentMap.empty<string, number>().with(first);
      const after = before.with(second);
      const keys = new Set([...before.keys(), ...after.keys()]);
      const differing = [...keys].filter((name) => before.get(name) !== after.get(name));
      for (const [a, b] of [
        [before, after],
        [after, before],
      ] as const)
        expect(PersistentMap.changedKeys(a, b).toSorted()).toEqual(differing.toSorted());
      expect(before.with(before)).toBe(before);
    }),
  );
});

test('the same content comes in the same order, however it came to be', () => {
  fc.assert(
    fc.property(changes, changes, (first, second) => {
      const map = PersistentMap.empty<string, number>().with(first).with(second);
      const anew = PersistentMap.from([...content(map)].toReversed());
      expect([...anew]).toEqual([...map]);
      expect(PersistentMap.changedKeys(anew, map)).toEqual([]);
    }),
  );
});
