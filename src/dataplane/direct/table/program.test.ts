import { expect, test } from 'vitest';
import {
  addressOf,
  directListener,
  localListener,
  localTable,
  node,
  nodeName,
  tableOf,
  type Weights,
} from '../../../../test/make/table.ts';
import type { NodeHealth } from '../../../core/traffic/report.ts';
import type { TrafficTable } from '../../../core/traffic/table.ts';
import { type DirectProgram, makeDirectPlanner, type ProgramInput } from './program.ts';
import { slotCount, smallSlotCount } from './rule-parts.ts';

const dns = directListener('203.0.113.1', 53, { isPublished: true });
const web = directListener('203.0.113.2', 80, { isPublished: true, protocol: 'TCP' });
const six = directListener('2001:db8:f::1', 53, { isPublished: true });
const nodes = [
  node('n1', '192.0.2.11', '2001:db8::11'),
  node('n2', '192.0.2.12'),
  node('n3', '192.0.2.13', '2001:db8::13'),
];

function inputOf(more: Partial<ProgramInput> = {}): ProgramInput {
  return {
    table: tableOf([dns, web, six], nodes),
    verdicts: new Map(),
    linkOf: () => 'eth0',
    isOwn: () => false,
    isLost: () => false,
    nodeMacs: new Set(),
    impossible: [],
    isOpen: () => true,
    openings: {},
    ...more,
  };
}

/** The nodes of each listener's group. */
function nodesOf({ groups, hops }: DirectProgram): Readonly<Record<string, readonly string[]>> {
  const names = new Map(Array.from(hops, ([key, { mark }]) => [mark, key.split(' ')[0] ?? '']));
  return Object.fromEntries(
    Array.from(groups, ([key, { marks }]) => [
      key.split('|')[0],
      [...new Set(marks.map((mark) => names.get(mark) ?? ''))].toSorted(),
    ]),
  );
}

const silent = (name: string, state: NodeHealth): ProgramInput['verdicts'] =>
  new Map([[nodeName(name), { 4: state, 6: state }]]);

test.each<[string, Partial<ProgramInput>, Record<string, readonly string[]>]>([
  [
    'all nodes of its family',
    {},
    { '203.0.113.1': ['n1', 'n2', 'n3'], '203.0.113.2': ['n1', 'n2', 'n3'], '2001:db8:f::1': ['n1', 'n3'] },
  ],
  [
    'no silent node',
    { verdicts: silent('n1', 'silent') },
    { '203.0.113.1': ['n2', 'n3'], '203.0.113.2': ['n2', 'n3'], '2001:db8:f::1': ['n3'] },
  ],
  [
    'no node that wants no traffic',
    { verdicts: silent('n3', 'unhealthy') },
    { '203.0.113.1': ['n1', 'n2'], '203.0.113.2': ['n1', 'n2'], '2001:db8:f::1': ['n1'] },
  ],
  [
    'no node that drains',
    { table: tableOf([dns], [{ ...nodes[0]!, state: 'drain' }, ...nodes.slice(1)]) },
    { '203.0.113.1': ['n2', 'n3'] },
  ],
  [
    'no node that drains, and an unhealthy one if no other is left',
    {
      table: tableOf([dns], [{ ...nodes[0]!, state: 'drain' }, nodes[1]!]),
      verdicts: silent('n2', 'unhealthy'),
    },
    { '203.0.113.1': ['n2'] },
  ],
  [
    'no node behind a router',
    { linkOf: (address) => (address === addressOf('192.0.2.11') || address.text.endsWith('11') ? undefined : 'eth0') },
    { '203.0.113.1': ['n2', 'n3'], '203.0.113.2': ['n2', 'n3'], '2001:db8:f::1': ['n3'] },
  ],
  [
    'not this host, if it is a node',
    { isOwn: (address) => address.text === '192.0.2.12' },
    { '203.0.113.1': ['n1', 'n3'], '203.0.113.2': ['n1', 'n3'], '2001:db8:f::1': ['n1', 'n3'] },
  ],
  [
    'only nodes that the gate opens for it',
    { isOpen: ({ port }, name) => port === 80 && name === nodeName('n2') },
    { '203.0.113.2': ['n2'] },
  ],
])('the flows of a listener get %s', (_, more, expected) => {
  const program = makeDirectPlanner()(inputOf(more));
  expect(nodesOf(program)).toEqual(expected);
  for (const { marks } of program.slots.values()) expect([0, slotCount]).toContain(marks.length);
});

test('a node that was lost is a next hop again when it is shown to serve a listener', () => {
  const plan = makeDirectPlanner();
  const isHop = (more: Partial<ProgramInput>): boolean => plan(inputOf(more)).hops.has('n1 4');
  const isClosed: ProgramInput['isOpen'] = (_, name) => name !== nodeName('n1');
  expect(isHop({ isLost: (name) => name === nodeName('n1') })).toBe(false);
  expect(isHop({ isOpen: isClosed })).toBe(false);
  expect(isHop({})).toBe(true);
});

test('a listener of a Service with nodes of its own uses only those, each for its share of the slots', () => {
  const local = localListener('203.0.113.3', 80, 0);
  const web3 = directListener('203.0.113.3', 80, { isPublished: true, protocol: 'TCP', backend: local.backend });
  const tableWith = (weights: Weights): TrafficTable => localTable([[web3, weights]], nodes);
  const plan = makeDirectPlanner();
  const first = plan(inputOf({ table: tableWith({ n1: 3, n3: 1 }) }));
  expect(nodesOf(first)).toEqual({ '203.0.113.3': ['n1', 'n3'] });
  const [mark] = [first.hops.get('n3 4')?.mark];
  const marks = first.groups.get(web3.key)?.marks ?? [];
  expect(marks).toHaveLength(smallSlotCount);
  expect(marks.filter((each) => each === mark).length / marks.length).toBeCloseTo(0.25, 1);
  // A node that loses its endpoints stays a next hop: its flows are pinned.
  const second = plan(inputOf({ table: tableWith({ n1: 3 }) }));
  expect([nodesOf(second), second.hops.has('n3 4')]).toEqual([{ '203.0.113.3': ['n1'] }, true]);
  const [group, next] = [first, second].map(({ groups }) => groups.get(web3.key));
  expect(next?.id).toBe(group?.id);
  expect(next).not.toBe(group);
  expect(nodesOf(plan(inputOf({ table: tableWith({ n1: { terminating: 1 }, n2: 1 }) })))).toEqual({
    '203.0.113.3': ['n2'],
  });
  expect(nodesOf(plan(inputOf({ table: tableWith({}) })))).toEqual({});
  const many = Array.from({ length: 9 }, (_, index) => node(`m${index}`, `192.0.2.${20 + index}`));
  const wide = localTable([[web3, Object.fromEntries(many.map(({ name }) => [name, 1]))]], many);
  expect(plan(inputOf({ table: wide })).groups.get(web3.key)?.marks).toHaveLength(slotCount);
});

test('a listener with affinity, and one of UDP with nodes of its own, keeps flows only at nodes of its backend', () => {
  const { backend } = localListener('203.0.113.3', 80, 0);
  const [udp, tcp, affine] = (['UDP', 'TCP', 'TCP'] as const).map((protocol, index) =>
    directListener('203.0.113.3', 80 + index, { isPublished: true, protocol, backend, isAffine: index === 2 }),
  ) as [typeof dns, typeof dns, typeof dns];
  const plan = makeDirectPlanner();
  const planned = (weights: Weights): DirectProgram =>
    plan(
      inputOf({
        table: localTable(
          [udp, tcp, affine].map((each) => [each, weights] as const),
          nodes,
        ),
      }),
    );
  const first = planned({ n1: 1, n3: 1 });
  const marks = ['n1 4', 'n3 4'].map((hop) => first.hops.get(hop)?.mark);
  expect(first.keepers.get(udp.key)).toEqual(marks);
  expect(first.keepers.get(affine.key)).toEqual(marks);
  expect(first.keepers.has(tcp.key)).toBe(false);
  expect(planned({ n1: { terminating: 1 }, n2: 1 }).keepers.get(udp.key)).toContain(marks[0]);
  expect(planned({ n2: 1 }).keepers.get(udp.key)).not.toContain(marks[0]);
  const left = { ...udp, dataplane: 'nat' } as const;
  const leaving = plan(inputOf({ table: localTable([[left, { n1: 1 }]], nodes) }));
  expect([leaving.groups.has(left.key), leaving.keepers.get(left.key)]).toEqual([false, [marks[0]]]);
});

test('listeners with the same nodes share a group; the group stays the same object while its nodes do', () => {
  const plan = makeDirectPlanner();
  const first = plan(inputOf());
  expect(first.groups.get(dns.key)).toBe(first.groups.get(web.key));
  const second = plan(inputOf({ table: tableOf([dns], nodes) }));
  expect(second.groups.get(dns.key)).toBe(first.groups.get(dns.key));
  expect(plan(inputOf({ verdicts: silent('n1', 'silent') })).groups.get(dns.key)).not.toBe(first.groups.get(dns.key));
});

test('the number of a listener is that of its Service: the next one on the address has another, also under the same name', () => {
  const plan = makeDirectPlanner();
  const other = directListener('203.0.113.1', 53, { isPublished: true, uid: 'other' as typeof dns.uid });
  const before = plan(inputOf()).ids.get(dns.key);
  const next = plan(inputOf({ table: tableOf([other], nodes) })).ids.get(other.key);
  expect(next).not.toBe(before);
  // After a restart each has the same.
  expect(makeDirectPlanner()(inputOf({ table: tableOf([other], nodes) })).ids.get(other.key)).toBe(next);
  expect(makeDirectPlanner()(inputOf()).ids.get(dns.key)).toBe(before);
});
