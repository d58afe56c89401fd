import { expect, test } from 'vitest';
import { node, tableOf } from '../../../../test/make/table.ts';
import type { TrafficNode } from '../../../core/traffic/table.ts';
import type { ServerLine } from './answers.ts';
import { type Servers, serversOf } from '../config/node-servers.ts';
import { type WorkerContents, leftoverServers, serverUpserts } from './worker.ts';

function wanted(...nodes: readonly TrafficNode[]): Servers {
  return serversOf(tableOf([], nodes));
}

function held(...states: readonly (Partial<ServerLine> & Pick<ServerLine, 'server'>)[]): WorkerContents['servers'] {
  const servers = new Map<string, Map<string, ServerLine>>();
  for (const state of states) {
    const defaults = {
      backend: 'nodes4',
      address: '10.0.0.1',
      port: 0,
      admin: 'ready',
      isChecked: true,
      checkPort: 10_256,
      checkAddress: undefined,
      weight: 1,
    } as const;
    const full = { ...defaults, ...state };
    servers.set(full.backend, (servers.get(full.backend) ?? new Map<string, ServerLine>()).set(full.server, full));
  }
  return servers;
}

function commands(present: WorkerContents['servers'], servers: Servers, isChecked: boolean): readonly string[] {
  return serverUpserts(present, servers, () => isChecked).map(({ command }) => command);
}

const n1 = node('n1', '10.0.0.1');
const draining: TrafficNode = { ...n1, state: 'drain' };

test.each([
  [
    'a new node is added with its check and set ready',
    commands(held(), wanted(n1), true),
    [
      'add server nodes4/n1 10.0.0.1 check port 10256 inter 1s fall 2 rise 1',
      'enable health nodes4/n1',
      'set server nodes4/n1 state ready',
    ],
  ],
  [
    'an IPv6 address has brackets',
    commands(held(), wanted(node('n1', 'fd00::1')), false),
    ['add server nodes6/n1 [fd00::1] check port 10256 inter 1s fall 2 rise 1', 'set server nodes6/n1 state ready'],
  ],
  [
    "a new node is not checked while furiwake's own probe decides",
    commands(held(), wanted(n1), false),
    ['add server nodes4/n1 10.0.0.1 check port 10256 inter 1s fall 2 rise 1', 'set server nodes4/n1 state ready'],
  ],
  ['a node in the desired state needs no command', commands(held({ server: 'n1' }), wanted(n1), true), []],
  [
    'a node to be drained is drained',
    commands(held({ server: 'n1' }), wanted(draining), true),
    ['set server nodes4/n1 state drain'],
  ],
  ['a node that already drains stays so', commands(held({ server: 'n1', admin: 'drain' }), wanted(draining), true), []],
  [
    'a node that was drained when HAProxy started is taken from maintenance to drain, to be checked',
    commands(held({ server: 'n1', admin: 'maint' }), wanted(draining), true),
    ['set server nodes4/n1 state drain'],
  ],
  [
    'a node to be used again is set ready',
    commands(held({ server: 'n1', admin: 'drain' }), wanted(n1), true),
    ['set server nodes4/n1 state ready'],
  ],
  [
    'a node with another address gets it',
    commands(held({ server: 'n1', address: '10.0.0.9' }), wanted(n1), true),
    ['set server nodes4/n1 addr 10.0.0.1'],
  ],
  [
    'what another program has set is set back',
    commands(held({ server: 'n1', port: 7, weight: 0, checkPort: 1, checkAddress: '10.0.0.9' }), wanted(n1), true),
    [
      'set server nodes4/n1 addr 10.0.0.1 port +0',
      'set server nodes4/n1 weight 1',
      'set server nodes4/n1 check-port 10256',
      'set server nodes4/n1 check-addr 10.0.0.1',
    ],
  ],
  [
    "when furiwake's own probe takes over, the check is disabled and its last result cleared",
    commands(held({ server: 'n1' }), wanted(n1), false),
    ['disable health nodes4/n1', 'set server nodes4/n1 health up'],
  ],
  [
    'when the checks take over they are enabled',
    commands(held({ server: 'n1', isChecked: false }), wanted(n1), true),
    ['enable health nodes4/n1'],
  ],
])('%s', (_, given, expected) => {
  expect(given).toEqual(expected);
});

test('servers that the table no longer has remain to be removed; those of other backends are not furiwake’s', () => {
  const present = held({ server: 'n1' }, { server: 'n2', admin: 'drain' }, { backend: 'other', server: 'x' });
  expect(leftoverServers(present, wanted(n1))).toMatchObject([{ backend: 'nodes4', server: 'n2' }]);
});
