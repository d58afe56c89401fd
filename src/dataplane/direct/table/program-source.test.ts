import { expect, test } from 'vitest';
import { allAnswer } from '../../../../test/make/answering-nodes.ts';
import { sceneGate } from '../../../../test/make/scene-gate.ts';
import { node, nodeName, tableOf } from '../../../../test/make/table.ts';
import { ip } from '../../../../test/make/service.ts';
import { virtualClock } from '../../../../test/sim/virtual-clock.ts';
import type { Ip } from '../../../core/ip/ip.ts';
import { emptyTable } from '../../../core/traffic/table.ts';
import { makeProgramSource } from './program-source.ts';

/** Addresses in 203.0.113.0/24 are on another link than all others. */
function makeSource(primary: () => readonly Ip[] = () => []): ReturnType<typeof makeProgramSource> {
  return makeProgramSource({
    exec: undefined as never,
    clock: virtualClock(),
    health: {
      verdicts: () => new Map([[nodeName('silent'), { 4: 'silent', 6: 'up' }]]),
      subscribe: () => () => undefined,
    },
    gate: sceneGate({ isAnswering: (name) => name !== 'mute' }),
    answering: allAnswer,
    linkOf: ({ text }) => {
      const name = text.startsWith('203.0.113.') ? 'eth1' : 'eth0';
      return text === '198.51.100.14' ? undefined : { name, index: 2, mac: '02:00:00:00:00:01', mtu: 1_500 };
    },
    own: () => new Map(),
    primary,
    serviceCidrs: () => [],
  });
}

test('a node may open in a family unless it is silent there, does not answer, or is on no link', () => {
  const source = makeSource();
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

test('the device of a default route that is gone keeps its chain until there is another one', async () => {
  let primary: readonly Ip[] = [];
  const source = makeSource(() => primary);
  const devices: string[] = [];
  for (const texts of [['203.0.113.2', '2001:db8::2'], ['2001:db8::2'], [], ['192.0.2.2']]) {
    primary = texts.map(ip);
    const { signal } = new AbortController();
    const program = await source.next(emptyTable, { isLost: () => false, news: 'all' }, signal);
    devices.push(program.devices.join());
  }
  expect(devices).toEqual(['eth0,eth1', 'eth0,eth1', 'eth0,eth1', 'eth0']);
});
