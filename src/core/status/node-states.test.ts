import { expect, test } from 'vitest';
import { makeNode } from '../../../test/make/service.ts';
import { nodeName } from '../../../test/make/table.ts';
import type { Node } from '../model/node.ts';
import type { HostReport } from '../traffic/report.ts';
import {
  countNodes,
  nodeCountWords,
  type NodeState,
  nodeStates,
  nodeStateWords,
  takesConnections,
} from './node-states.ts';

const dual = (name: string, excluded?: Node['excluded']): Node => ({
  ...makeNode(name, '192.0.2.11', '2001:db8::11'),
  excluded,
});

const nodes = [
  dual('new'),
  dual('half'),
  dual('unwell'),
  dual('dead'),
  dual('drained'),
  dual('labelled', 'label'),
  makeNode('bare'),
];
const planned = nodes.flatMap(({ name, addresses, excluded }) =>
  excluded !== undefined || addresses.length === 0
    ? []
    : [
        {
          name,
          addresses,
          podCidrs: [],
          bootId: undefined,
          state: name === 'drained' ? ('drain' as const) : ('active' as const),
        },
      ],
);
const health: HostReport['health'] = new Map([
  [nodeName('half'), { 4: 'silent', 6: 'up' }],
  [nodeName('unwell'), { 4: 'silent', 6: 'unhealthy' }],
  [nodeName('dead'), { 4: 'silent', 6: 'silent' }],
  [nodeName('drained'), { 4: 'silent', 6: 'silent' }],
]);
const states = nodeStates({
  nodes: new Map(nodes.map((node) => [node.name, node])),
  table: { nodes: new Map(planned.map((node) => [node.name, node])) },
  health,
});

test.each<[string, string, NodeState, boolean]>([
  ['that is not checked yet', 'new', 'up', true],
  ['that answers in one family', 'half', 'up', true],
  ['that answers that it is unhealthy in one family', 'unwell', 'unhealthy', false],
  ['that answers in no family', 'dead', 'silent', false],
  ['that is drained', 'drained', 'drained', false],
  ['that is excluded', 'labelled', 'excluded', false],
  ['without an address', 'bare', 'without address', false],
])('a node %s', (_, name, state, takes) => {
  expect([states.get(nodeName(name)), takesConnections(state)]).toEqual([state, takes]);
});

test('states are counted, and nodes named by state', () => {
  expect(nodeCountWords(countNodes(states))).toBe(
    '2 up, 1 unhealthy, 1 silent, 1 drained, 1 excluded, 1 without address',
  );
  expect(nodeStateWords(states)).toBe(
    'new, half are up, unwell is unhealthy, dead is silent, drained is drained, labelled is excluded, bare is without address',
  );
  expect(nodeCountWords({})).toBe('none');
});
