import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { byKey, ip, makeService, ranges, tcp } from '../../../test/make/service.ts';
import type { Assignment } from '../addresses/assignment.ts';
import type { ServiceKey, ServiceUid } from '../model/names.ts';
import { PersistentMap } from '../persistent-map.ts';
import { closedFamilies, makeRangeBudget, mostRanges, planSourceRanges } from './source-ranges.ts';

describe('loadBalancerSourceRanges', () => {
  test.each<[string, readonly string[], ReturnType<typeof ranges> | undefined, readonly string[]]>([
    ['without an entry are open', [], undefined, []],
    ['are merged', ['198.51.100.0/25', ' 198.51.100.128/25 '], ranges('198.51.100.0/24'), []],
    ['may be a single address', ['2001:db8::1'], ranges('2001:db8::1'), []],
    ['with only entries that are not CIDRs are closed', ['all', '10.0.0.0/33'], [], ['all', '10.0.0.0/33']],
    ['permit the others beside one that is not a CIDR', ['x', '10.0.0.0/8'], ranges('10.0.0.0/8'), ['x']],
  ])('%s', (_, texts, expected, malformed) => {
    expect(planSourceRanges(texts, [4, 6])).toEqual({ ranges: expected, malformed, excess: undefined });
  });

  test.each<[string, readonly string[], readonly number[]]>([
    ['no entry: none is closed', [], []],
    ['IPv4 alone closes IPv6', ['10.0.0.0/8'], [6]],
    ['IPv6 alone closes IPv4', ['2001:db8::/32'], [4]],
    ['both', ['10.0.0.0/8', '2001:db8::/32'], []],
    ['nothing that is a CIDR closes both', ['x'], [4, 6]],
  ])('which families are closed: %s', (_, texts, closed) => {
    expect(closedFamilies(texts, [4, 6])).toEqual(closed);
  });

  test('of one Service are limited, those of its families', () => {
    const of = (length: number, text: (index: number) => string): readonly string[] =>
      Array.from({ length }, (_, index) => text(index));
    const texts = of(mostRanges, (index) => `10.${index >> 7}.${(index & 127) * 2}.0/24`);
    const more = [...texts, ...of(1, () => '2001:db8::/32')];
    expect(planSourceRanges(texts, [4, 6]).excess).toBeUndefined();
    expect(planSourceRanges(more, [4]).excess).toBeUndefined();
    expect(planSourceRanges(more, [4, 6])).toMatchObject({
      ranges: [],
      excess:
        'loadBalancerSourceRanges amount to 10001 ranges, and a Service may have at most 10000: use fewer, wider ranges',
    });
  });
});

describe('the budget of a host', () => {
  type Claim = { readonly name: string; readonly createdAtMs: number; readonly count: number; readonly ports?: number };

  const claimsOf = (claims: readonly Claim[]): Parameters<ReturnType<typeof makeRangeBudget>>[0] => {
    const services = claims.map(({ name, createdAtMs, count }) =>
      makeService(
        name,
        { sourceRanges: Array.from({ length: count }, (_, index) => `10.0.${index}.1`) },
        { createdAtMs, uid: `uid-${name}` as ServiceUid },
      ),
    );
    const assignments = claims.map(({ ports = 1 }, index): [ServiceKey, Assignment] => [
      services[index]?.key ?? ('' as ServiceKey),
      {
        addresses: [
          {
            ip: ip('192.0.2.8'),
            isHostAddress: false,
            served: Array.from({ length: ports }, (_, port) => tcp(port + 1)),
            unserved: [],
          },
        ],
        verdict: { reason: 'Assigned', message: '' },
        refused: [],
        disowned: [],
        keepsStatus: false,
        waitsForHost: false,
      },
    ]);
    return { services: byKey(services), assignments: PersistentMap.from(assignments) };
  };
  const exceeding = (claims: readonly Claim[]): readonly string[] =>
    [...makeRangeBudget(10)(claimsOf(claims))].toSorted();

  const old = { name: 'old', createdAtMs: 1, count: 6 };
  const young = { name: 'young', createdAtMs: 2, count: 6 };
  const small = { name: 'small', createdAtMs: 3, count: 4 };

  test.each<[string, readonly Claim[], readonly string[]]>([
    ['closes none that fit', [old, small], []],
    ['closes the younger one', [young, old], ['default/young']],
    ['leaves what a large one does not use to younger ones', [old, young, small], ['default/young']],
    ['counts ranges once, whatever the number of ports', [old, { ...small, ports: 2 }], []],
    [
      'closes the one with the greater uid of two of the same age',
      [{ ...young, createdAtMs: 1 }, old],
      ['default/young'],
    ],
    ['does not count Services without ranges', [old, { ...young, count: 0 }, small], []],
  ])('%s', (_, claims, closed) => {
    expect(exceeding(claims)).toEqual(closed);
  });

  test('never grants more than there is, keeps the set while it is the same, and depends on nothing before', () => {
    const claims = fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
        createdAtMs: fc.nat(3),
        count: fc.nat(6),
        ports: fc.integer({ min: 0, max: 2 }),
      }),
      { selector: ({ name }) => name },
    );
    fc.assert(
      fc.property(fc.array(claims, { maxLength: 5 }), (states) => {
        const budget = makeRangeBudget(10);
        for (const state of states) {
          const claimed = claimsOf(state);
          const closed = budget(claimed);
          expect([...closed].toSorted()).toEqual(exceeding(state));
          expect(budget(claimsOf(state))).toBe(closed);
          const given = state.filter(({ name }) => !closed.has(`default/${name}` as ServiceKey));
          expect(given.reduce((sum, { count, ports }) => sum + count * Math.min(ports, 1), 0)).toBeLessThanOrEqual(10);
        }
      }),
    );
  });
});
