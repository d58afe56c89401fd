import fc from 'fast-check';
import { expect, test } from 'vitest';
import { planSlots, type Share } from './slots.ts';

const slots = 1021;
const servers = fc.uniqueArray(
  fc.record({ name: fc.stringMatching(/^[a-z0-9-]{1,12}$/), weight: fc.integer({ min: 1, max: 9 }) }),
  {
    selector: ({ name }) => name,
    minLength: 1,
    maxLength: 12,
  },
);

test('a server that leaves gives its slots to the others, and no other slot changes', () => {
  const countOther = (all: readonly Share[], gone: Share | undefined): number => {
    const before = planSlots(all, slots);
    const rest = all.filter((each) => each !== gone);
    return planSlots(rest, slots).filter((name, slot) => name !== before[slot] && before[slot] !== gone?.name).length;
  };
  fc.assert(fc.property(servers, fc.nat(), (all, pick) => countOther(all, all[pick % all.length]) === 0));
  expect(countOther([], undefined)).toBe(0);
});

test('the order of the servers does not matter', () => {
  fc.assert(
    fc.property(servers, (all) => {
      expect(planSlots(all.toReversed(), slots)).toEqual(planSlots(all, slots));
    }),
  );
});

test.each<[string, readonly Share[]]>([
  ['equal weights', ['n1', 'n2', 'n3'].map((name) => ({ name, weight: 1 }))],
  ['names that differ in one letter', Array.from({ length: 10 }, (_, index) => ({ name: `node-${index}`, weight: 1 }))],
  ['weights 1, 2 and 5', [1, 2, 5].map((weight) => ({ name: `n${weight}`, weight }))],
])('each server has its share: %s', (_, all) => {
  const total = all.reduce((sum, { weight }) => sum + weight, 0);
  const counts = Map.groupBy(planSlots(all, 10_007), (name) => name);
  for (const { name, weight } of all) {
    const share = weight / total;
    const deviation = 4 * Math.sqrt((share * (1 - share)) / 10_007); // four standard deviations
    expect(Math.abs((counts.get(name)?.length ?? 0) / 10_007 - share)).toBeLessThan(deviation);
  }
});

test('the same servers have the same slots in every release', () => {
  expect(
    planSlots(
      ['n1', 'n2', 'n3'].map((name) => ({ name, weight: 1 })),
      12,
    ),
  ).toMatchInlineSnapshot(`
    [
      "n3",
      "n1",
      "n3",
      "n3",
      "n2",
      "n1",
      "n3",
      "n3",
      "n3",
      "n1",
      "n3",
      "n2",
    ]
  `);
});

test('without servers there are no slots', () => {
  expect(planSlots([], slots)).toEqual([]);
});
