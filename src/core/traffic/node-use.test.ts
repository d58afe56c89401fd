import { expect, test } from 'vitest';
import { node, nodeName } from '../../../test/make/table.ts';
import { nodeUse } from './node-use.ts';
import type { HostReport, NodeHealth } from './report.ts';

const [n1, n2] = [node('n1', '192.0.2.11', '2001:db8::11'), node('n2', '192.0.2.12')];
const drained = { ...n2, state: 'drain' } as const;
const healthOf = (states: Readonly<Record<string, NodeHealth>>): HostReport['health'] =>
  new Map(Object.entries(states).map(([name, state]) => [nodeName(name), { 4: state }]));

test.each([
  ['all are up', [n1, n2], {}, ['n1', 'n2'], ['n1', 'n2']],
  ['one is silent', [n1, n2], { n1: 'silent' }, ['n2'], ['n2']],
  ['one is unhealthy', [n1, n2], { n1: 'unhealthy' }, ['n2'], ['n2']],
  ['none is up', [n1, n2], { n1: 'silent', n2: 'unhealthy' }, ['n1', 'n2'], ['n1', 'n2']],
  ['one is drained', [n1, drained], {}, ['n1', 'n2'], ['n1']],
  ['one was found up, and the other is not checked yet', [n1, n2], { n1: 'up' }, ['n1', 'n2'], ['n1']],
  ['only a drained one was found up', [n1, drained], { n2: 'up' }, ['n1', 'n2'], ['n1']],
  ['only a drained one is up', [n1, drained], { n1: 'silent' }, ['n1', 'n2'], ['n1']],
] as const)('which nodes keep flows, and which get new ones, if %s', (_, nodes, states, keeping, taking) => {
  const { keeps, takes } = nodeUse(nodes, healthOf(states));
  expect(nodes.filter(({ name }) => keeps(name, 4)).map(({ name }) => name)).toEqual(keeping);
  expect(nodes.filter((each) => takes(each, 4)).map(({ name }) => name)).toEqual(taking);
});

test('the families are judged apart', () => {
  const { hasUp } = nodeUse([n1], healthOf({ n1: 'silent' }));
  expect(hasUp).toEqual({ 4: false, 6: true });
});
