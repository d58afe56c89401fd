import { expect, test } from 'vitest';
import { allAnswer } from '../../../../test/make/answering-nodes.ts';
import { sceneGate } from '../../../../test/make/scene-gate.ts';
import { node, nodeName, tableOf } from '../../../../test/make/table.ts';
import { virtualClock } from '../../../../test/sim/virtual-clock.ts';
import { makeProgramSource } from './program-source.ts';

test('a node may open in a family unless it is silent there, does not answer, or is on no link', () => {
  const source = makeProgramSource({
    exec: undefined as never,
    clock: virtualClock(),
    health: {
      verdicts: () => new Map([[nodeName('silent'), { 4: 'silent', 6: 'up' }]]),
      subscribe: () => () => undefined,
    },
    gate: sceneGate({ isAnswering: (name) => name !== 'mute' }),
    answering: allAnswer,
    linkOf: ({ text }) =>
      text === '198.51.100.14' ? undefined : { name: 'eth0', index: 2, mac: '02:00:00:00:00:01', mtu: 1_500 },
    own: () => new Map(),
    primary: () => [],
    serviceCidrs: () => [],
  });
  const { nodes } = tableOf(
    [],
    [
      node('up', '192.0.2.11', '2001:db8::11'),
      node('silent', '192.0.2.12', '2001:db8::12'),
      node('mute', '192.0.2.13', '2001:db8::13'),
      node('far', '198.51.100.14', '2001:db8::14'),
    ],
  );
  const mayOpen = source.mayOpen(nodes);
  const may = (name: string): readonly boolean[] => [mayOpen(nodeName(name), 4), mayOpen(nodeName(name), 6)];
  expect({ up: may('up'), silent: may('silent'), mute: may('mute'), far: may('far') }).toEqual({
    up: [true, true],
    silent: [false, true],
    mute: [false, false],
    far: [false, true],
  });
});
