import { describe, expect, test } from 'vitest';
import { makeNode } from '../../../test/make/service.ts';
import {
  localListener,
  localTable,
  nodeName,
  node as tableNode,
  tableOf,
  type Weights,
} from '../../../test/make/table.ts';
import type { Node } from '../model/node.ts';
import { PersistentMap } from '../persistent-map.ts';
import { makeTrafficPlanner } from '../traffic/plan.ts';
import type { HostReport } from '../traffic/report.ts';
import { makeNodeTrouble, type NodeTrouble, nodeTrouble, nodeTroubleOfService } from './node-trouble.ts';

type HealthByNode = Readonly<Record<string, NonNullable<ReturnType<HostReport['health']['get']>>>>;

/** What is wrong with these nodes, as the traffic planner and the host's checks see them. */
function troubleOf(nodes: readonly Node[], health: HealthByNode = {}, drained: readonly string[] = []): NodeTrouble {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const table = makeTrafficPlanner()({
    services: PersistentMap.empty(),
    assignments: PersistentMap.empty(),
    overBudget: new Set(),
    overProfiles: new Map(),
    overServers: new Map(),
    nodes: byName,
    onLink: new Set(),
    drained: new Set(drained.map(nodeName)),
    drainedServices: new Set(),
    endpoints: undefined,
    podPlace: { routed: [], reserved: new Map(), pool: [], zone: undefined, drained: new Set() },
  });
  const reported = Object.entries(health).map(([name, verdict]) => [nodeName(name), verdict] as const);
  return nodeTrouble({ nodes: byName, table, health: new Map(reported) });
}

const n1 = makeNode('n1', '192.0.2.11');
const n2 = makeNode('n2', '192.0.2.12');
const dual = makeNode('n3', '192.0.2.13', '2001:db8::13');

describe('no node takes connections', () => {
  test.each<[string, readonly Node[], HealthByNode, readonly string[], string]>([
    ['the cluster has none', [], {}, [], 'the cluster has no nodes'],
    [
      'all are excluded, each for its reason',
      [
        { ...n1, excluded: 'label' },
        { ...n2, excluded: 'taint' },
        { ...dual, excluded: 'deleted' },
      ],
      {},
      [],
      'every node with an IPv4 address is excluded: n1 (label node.kubernetes.io/exclude-from-external-load-balancers), n2 (taint of the cluster autoscaler), n3 (being deleted)',
    ],
    [
      'of many that are excluded five are named',
      ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => ({ ...makeNode(name, '192.0.2.20'), excluded: 'deleted' as const })),
      {},
      [],
      'every node with an IPv4 address is excluded: a (being deleted), b (being deleted), c (being deleted), d (being deleted), e (being deleted) and 1 more',
    ],
    ['all are drained', [n1, n2], {}, ['n1', 'n2'], 'every node is drained: n1, n2'],
    [
      'all are unhealthy',
      [n1, n2],
      { n1: { 4: 'unhealthy' }, n2: { 4: 'unhealthy' } },
      [],
      'every node is unhealthy: n1, n2',
    ],
    [
      'one is unhealthy, the others are silent or drained',
      [n1, n2, dual],
      { n1: { 4: 'unhealthy' }, n2: { 4: 'silent' } },
      ['n3'],
      'every node is unhealthy (n1) or silent (n2) or drained (n3)',
    ],
    ['all are silent', [n1, n2], { n1: { 4: 'silent' }, n2: { 4: 'silent' } }, [], 'every node is silent: n1, n2'],
    [
      'the others are drained or excluded, and one is silent',
      [n1, n2, { ...dual, excluded: 'taint' }],
      { n1: { 4: 'silent' }, n2: { 4: 'up' } },
      ['n2'],
      'every node is silent (n1) or drained (n2)',
    ],
    [
      'of many that are silent five are named',
      ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name, index) => makeNode(name, `192.0.2.2${index}`)),
      Object.fromEntries(['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => [name, { 4: 'silent' }])),
      [],
      'every node is silent: a, b, c, d, e and 2 more',
    ],
  ])('%s', (_, nodes, health, drained, expected) => {
    expect(troubleOf(nodes, health, drained)[4]?.words).toBe(expected);
  });
});

describe('some node takes connections', () => {
  test.each<[string, readonly Node[], HealthByNode, readonly string[]]>([
    ['one that the host does not check', [n1], {}, []],
    ['one that is up, while another is silent', [n1, n2], { n1: { 4: 'silent' }, n2: { 4: 'up' } }, []],
    ['one that is neither drained nor excluded', [n1, n2, { ...dual, excluded: 'label' }], {}, ['n1']],
  ])('%s', (_, nodes, health, drained) => {
    expect(troubleOf(nodes, health, drained)[4]).toBeUndefined();
  });
});

test('each family has its own trouble', () => {
  expect(troubleOf([n1])).toEqual({ 4: undefined, 6: { words: 'no node has an IPv6 address', hasNodes: false } });
  expect(troubleOf([dual], { n3: { 4: 'up', 6: 'silent' } })).toEqual({
    4: undefined,
    6: { words: 'every node is silent: n3', hasNodes: true },
  });
  expect(troubleOf([n1, { ...dual, excluded: 'taint' }])[6]).toEqual({
    words: 'every node with an IPv6 address is excluded: n3 (taint of the cluster autoscaler)',
    hasNodes: false,
  });
});

test('one that remembers its last input says the same after each change', () => {
  const remembered = makeNodeTrouble();
  const nodes = new Map([makeNode('n1', '192.0.2.11')].map((node) => [node.name, node]));
  const table = tableOf([], [tableNode('n1', '192.0.2.11')]);
  const drained = tableOf([], [{ ...tableNode('n1', '192.0.2.11'), state: 'drain' }]);
  const none = new Map();
  for (const input of [
    { nodes: new Map(), table: tableOf([], []), health: none },
    { nodes, table, health: none },
    { nodes, table, health: none },
    { nodes, table: drained, health: none },
    { nodes, table, health: new Map([[nodeName('n1'), { 4: 'silent' as const }]]) },
  ])
    expect(remembered(input)).toEqual(nodeTrouble(input));
});

test.each<[string, Weights, Readonly<Record<string, 'silent' | 'unhealthy'>>, string | undefined]>([
  ['one of its nodes answers', { n1: 1, n2: 1 }, { n1: 'silent' }, undefined],
  ['its only node is unhealthy', { n1: 1 }, { n1: 'unhealthy' }, 'every node with an endpoint is unhealthy (n1)'],
  [
    'its only node is silent, others are not',
    { n1: 1 },
    { n1: 'silent' },
    'every node with an endpoint is silent (n1)',
  ],
  [
    'the one that is not silent is drained',
    { n1: 1, n3: 1 },
    { n1: 'silent' },
    'every node with an endpoint is silent (n1) or drained (n3)',
  ],
  ['it has no nodes', {}, {}, undefined],
])('of a Service with nodes of its own only those count: %s', (_, weights, health, expected) => {
  const web = localListener('192.0.2.200', 80, 30_080, 'test/web');
  const nodes = [1, 2, 3].map((index) => ({
    ...tableNode(`n${index}`, `192.0.2.1${index}`),
    state: index === 3 ? ('drain' as const) : ('active' as const),
  }));
  const verdicts = new Map(Object.entries(health).map(([name, state]) => [nodeName(name), { 4: state }]));
  const none: NodeTrouble = { 4: undefined, 6: undefined };
  const table = localTable([[web, weights]], nodes);
  const found = nodeTroubleOfService(none, web.service, table, verdicts);
  expect(found).toEqual({ 4: expected && { words: expected, hasNodes: true }, 6: undefined });
  const all: NodeTrouble = { 4: { words: 'every node is silent: n1', hasNodes: true }, 6: undefined };
  expect(nodeTroubleOfService(all, web.service, table, verdicts)).toEqual(all);
});
