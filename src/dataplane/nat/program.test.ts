import { describe, expect, test } from 'vitest';
import { localListener, localTable, natListener, node, tableOf } from '../../../test/make/table.ts';
import { type BackendId, serviceKey } from '../../core/model/names.ts';
import type { HostReport, NodeHealth } from '../../core/traffic/report.ts';
import type { Listener, TrafficNode } from '../../core/traffic/table.ts';
import { makeNatPlanner, type NatInput, type NatPlan } from './program.ts';

const [n1, n2, n3] = [
  node('n1', '192.0.2.11', '2001:db8::11'),
  node('n2', '192.0.2.12'),
  node('n3', '192.0.2.13', '2001:db8::13'),
];
const nodes4 = 'nodes4' as BackendId;
const nodes6 = 'nodes6' as BackendId;

function inputOf(
  nodes: readonly TrafficNode[],
  states: Readonly<Record<string, NodeHealth>> = {},
  lost: readonly string[] = [],
): NatInput {
  const verdicts: HostReport['health'] = new Map(
    Object.entries(states).map(([name, state]) => [name as never, { 4: state, 6: state }]),
  );
  return {
    table: tableOf([natListener('203.0.113.1', 53, 30_053), natListener('2001:db8:f::1', 53, 30_053)], nodes),
    verdicts,
    isLost: (name) => lost.includes(name),
  };
}

/** The addresses that take flows of a backend. */
const takers = ({ groups }: NatPlan, backend = nodes4): readonly string[] =>
  [...new Set((groups.get(backend)?.slots ?? []).map(({ text }) => text))].toSorted();
const members = ({ places }: NatPlan): readonly string[] => (places.members.get(nodes4) ?? []).map(({ text }) => text);

describe('the nodes that take flows', () => {
  test('are those of the family', () => {
    const plan = makeNatPlanner()(inputOf([n1, n2, n3]));
    expect(takers(plan)).toEqual(['192.0.2.11', '192.0.2.12', '192.0.2.13']);
    expect(takers(plan, nodes6)).toEqual(['2001:db8::11', '2001:db8::13']);
  });

  test('are none without a node', () => {
    expect(makeNatPlanner()(inputOf([])).groups.size).toBe(0);
  });

  test.each<[string, NatInput, readonly string[], readonly string[]]>([
    ['drains', inputOf([{ ...n1, state: 'drain' }, n2]), ['192.0.2.12'], ['192.0.2.11', '192.0.2.12']],
    ['is unhealthy', inputOf([n1, n2], { n1: 'unhealthy' }), ['192.0.2.12'], ['192.0.2.11', '192.0.2.12']],
    ['is silent', inputOf([n1, n2], { n1: 'silent' }), ['192.0.2.12'], ['192.0.2.11', '192.0.2.12']],
    ['has been silent for long', inputOf([n1, n2], { n1: 'silent' }, ['n1']), ['192.0.2.12'], ['192.0.2.12']],
    [
      'drains, if no other one is healthy',
      inputOf([{ ...n1, state: 'drain' }, n2], { n2: 'unhealthy' }),
      ['192.0.2.12'],
      ['192.0.2.11', '192.0.2.12'],
    ],
    [
      'is silent like all others',
      inputOf([n1, n2], { n1: 'silent', n2: 'silent' }, ['n1', 'n2']),
      ['192.0.2.11', '192.0.2.12'],
      ['192.0.2.11', '192.0.2.12'],
    ],
  ])('without one that %s; it keeps its flows until it is lost', (_, input, taking, keeping) => {
    const plan = makeNatPlanner()(input);
    expect([takers(plan), members(plan)]).toEqual([taking, keeping]);
  });
});

test('a node that is not checked yet takes only flows of Services that have no other node', () => {
  const listenerOf = (address: string, service: string): Listener =>
    natListener(address, 53, 30_053, { backend: localListener(address, 53, 30_053, service).backend });
  const first = listenerOf('203.0.113.1', 'test/first');
  const second = listenerOf('203.0.113.2', 'test/second');
  const table = localTable(
    [
      [first, { n1: 1, n2: 1 }],
      [second, { n2: 1, n3: 1 }],
    ],
    [n1, n2, { ...n3, state: 'drain' }],
  );
  const plan = makeNatPlanner()({ ...inputOf([], { n1: 'up', n3: 'up' }), table });
  expect(takers(plan, first.backend)).toEqual(['192.0.2.11']);
  expect(takers(plan, second.backend)).toEqual(['192.0.2.12']);
});

test('a node takes flows in proportion to its weight', () => {
  const local = localListener('203.0.113.1', 53, 30_053);
  const each = natListener('203.0.113.1', 53, 30_053, { backend: local.backend });
  const plan = makeNatPlanner()({ ...inputOf([]), table: localTable([[each, { n1: 3, n2: 1 }]], [n1, n2]) });
  const { slots = [] } = plan.groups.get(local.backend) ?? {};
  const share = slots.filter(({ text }) => text === '192.0.2.11').length / slots.length;
  expect(share).toBeGreaterThan(0.7);
  expect(share).toBeLessThan(0.8);
});

describe('the nodes that keep clients', () => {
  const affine = (service: string): Listener =>
    natListener('203.0.113.1', 53, 30_053, { isAffine: true, service: serviceKey('test', service) });
  const planOf = (
    plan: ReturnType<typeof makeNatPlanner>,
    each: Listener,
    nodes: readonly TrafficNode[],
    states: Readonly<Record<string, NodeHealth>> = {},
  ): NatPlan => plan({ ...inputOf([], states), table: tableOf([each], nodes) });
  const numbersOf = ({ keepers }: NatPlan): Readonly<Record<string, number>> =>
    Object.fromEntries(
      [...keepers.values()].flatMap((each) => each.map(({ address, number }) => [address.text, number])),
    );

  test('are those that drain, too, and not those that are silent; a number stays', () => {
    const plan = makeNatPlanner();
    const web = affine('web');
    const first = numbersOf(planOf(plan, web, [n1, n2, n3]));
    expect(Object.keys(first)).toEqual(['192.0.2.11', '192.0.2.12', '192.0.2.13']);
    const later = numbersOf(planOf(plan, web, [{ ...n1, state: 'drain' }, n2, n3], { n2: 'silent' }));
    expect(later).toEqual({ '192.0.2.11': first['192.0.2.11'], '192.0.2.13': first['192.0.2.13'] });
    expect(numbersOf(planOf(plan, web, [n1, n2, n3]))).toEqual(first);
    const without = numbersOf(planOf(plan, web, [n1]));
    expect(without).toEqual({ '192.0.2.11': first['192.0.2.11'] });
    expect(numbersOf(planOf(plan, web, [n1, n2]))['192.0.2.12']).toBe(first['192.0.2.12']); // as after a restart
  });

  test('have other numbers for the next Service', () => {
    const plan = makeNatPlanner();
    const first = Object.values(numbersOf(planOf(plan, affine('web'), [n1, n2])));
    const next = Object.values(numbersOf(planOf(plan, affine('next'), [n1, n2])));
    expect(next.filter((number) => first.includes(number))).toEqual([]);
  });

  test('are none without affinity, and unchanged ones keep their identity', () => {
    const plan = makeNatPlanner();
    expect(plan(inputOf([n1])).keepers.size).toBe(0);
    const before = planOf(plan, affine('web'), [n1, n2]).keepers;
    expect(planOf(plan, affine('web'), [n1, n2]).keepers).toBe(before);
  });
});

test('a node that goes moves only its own slots, and one that returns has the same ones', () => {
  const plan = makeNatPlanner();
  const slots = (nodes: readonly TrafficNode[]): readonly string[] =>
    (plan(inputOf(nodes)).groups.get(nodes4)?.slots ?? []).map(({ text }) => text);
  const before = slots([n1, n2, n3]);
  const without = slots([n1, n3]);
  expect(without.filter((text, slot) => text !== before[slot]).length).toBe(
    before.filter((text) => text === '192.0.2.12').length,
  );
  expect(slots([n3, n2, n1])).toEqual(before);
});

test('backends with the same nodes share a group, and unchanged parts keep their identity', () => {
  const plan = makeNatPlanner();
  const local = 'local4:a/b' as BackendId;
  const { table, ...input } = inputOf([n1, n2]);
  const nodes = table.backends.get(nodes4);
  if (nodes === undefined) throw new Error('there is one');
  const other = natListener('203.0.113.2', 53, 30_054, { backend: local });
  const wanted = {
    ...table,
    listeners: table.listeners.with([[other.key, other]]),
    backends: table.backends.with([[local, nodes]]),
  };
  const first = plan({ ...input, table: wanted });
  expect(first.groups.get(local)).toBe(first.groups.get(nodes4));
  const again = plan({ ...input, table: { ...wanted } });
  expect([again.groups, again.places]).toEqual([first.groups, first.places]);
  expect(again.groups).toBe(first.groups);
  expect(again.places).toBe(first.places);
});
