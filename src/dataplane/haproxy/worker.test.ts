import { expect, test } from 'vitest';
import { addressOf, nodeName, server, tableOf } from '../../../test/netns/rows.ts';
import type { Server } from '../../core/traffic/table.ts';
import type { ServerState } from './answers.ts';
import type { Held } from './held.ts';
import { leftoverServers, serverUpserts } from './server-changes.ts';
import { nodeServers, type Servers, slotServers } from './servers.ts';

const slot = 'slot_roundrobin_v2_0';

function wanted(
  nodes: readonly Server[],
  inSlot: readonly { readonly node: string; readonly weight: number }[] = [],
): Servers {
  const four = nodeServers(tableOf([], { 4: nodes, 6: [] }), 4);
  const known = { 4: new Set(four.map(({ node }) => node)), 6: new Set<never>() };
  const servers = inSlot.map(({ node, weight }) => ({
    node: nodeName(node),
    address: addressOf('10.0.0.1'),
    port: 30_692,
    weight,
  }));
  return { nodes: { 4: four, 6: [] }, slots: new Map([[slot, slotServers(servers, known)]]) };
}

function held(...states: readonly (Partial<ServerState> & Pick<ServerState, 'server'>)[]): Held['servers'] {
  const servers = new Map<string, Map<string, ServerState>>();
  for (const state of states) {
    const full = {
      backend: 'nodes4',
      address: '10.0.0.1',
      port: 0,
      weight: 1,
      isOut: false,
      isChecked: true,
      ...state,
    };
    servers.set(full.backend, (servers.get(full.backend) ?? new Map<string, ServerState>()).set(full.server, full));
  }
  return servers;
}

const checked = (): boolean => true;
const unchecked = (): boolean => false;
const n1 = server('n1', '10.0.0.1');
const draining: Server = { ...n1, state: 'drain' };
const inSlot = { backend: slot, server: 'n1_4_10.0.0.1:30692', port: 30_692 };

test.each([
  [
    'a node that is new is added with its check and set ready',
    serverUpserts(held(), wanted([n1]), checked),
    [
      'add server nodes4/n1 10.0.0.1 check port 10256 inter 1s fall 2 rise 1',
      'enable health nodes4/n1',
      'set server nodes4/n1 state ready',
    ],
  ],
  [
    'a node that is new while our own probe decides is not checked',
    serverUpserts(held(), wanted([n1]), unchecked),
    ['add server nodes4/n1 10.0.0.1 check port 10256 inter 1s fall 2 rise 1', 'set server nodes4/n1 state ready'],
  ],
  ['a node that is as it shall be needs nothing', serverUpserts(held({ server: 'n1' }), wanted([n1]), checked), []],
  [
    'a node that shall drain is drained',
    serverUpserts(held({ server: 'n1' }), wanted([draining]), checked),
    ['set server nodes4/n1 state drain'],
  ],
  [
    'a draining node that is out in some way already is left so',
    serverUpserts(held({ server: 'n1', isOut: true }), wanted([draining]), checked),
    [],
  ],
  [
    'a node that shall work again is set ready',
    serverUpserts(held({ server: 'n1', isOut: true }), wanted([n1]), checked),
    ['set server nodes4/n1 state ready'],
  ],
  [
    'a node with another address gets it',
    serverUpserts(held({ server: 'n1', address: '10.0.0.9' }), wanted([n1]), checked),
    ['set server nodes4/n1 addr 10.0.0.1'],
  ],
  [
    'when our own probe takes over, the check is switched off and its last word forgotten',
    serverUpserts(held({ server: 'n1' }), wanted([n1]), unchecked),
    ['disable health nodes4/n1', 'set server nodes4/n1 health up'],
  ],
  [
    'when the checks take over they are switched on',
    serverUpserts(held({ server: 'n1', isChecked: false }), wanted([n1]), checked),
    ['enable health nodes4/n1'],
  ],
  [
    'a server in a slot comes after the node that it tracks',
    serverUpserts(held(), wanted([n1], [{ node: 'n1', weight: 2 }]), checked).slice(3),
    [
      `add server ${slot}/n1_4_10.0.0.1:30692 10.0.0.1:30692 track nodes4/n1 weight 2 send-proxy-v2`,
      `set server ${slot}/n1_4_10.0.0.1:30692 state ready`,
    ],
  ],
  [
    'a server in a slot with another weight gets it, and one that drained is taken back',
    serverUpserts(
      held({ server: 'n1' }, { ...inSlot, isOut: true }),
      wanted([n1], [{ node: 'n1', weight: 300 }]),
      checked,
    ),
    [`set server ${slot}/${inSlot.server} weight 256`, `set server ${slot}/${inSlot.server} state ready`],
  ],
  [
    'a server in a slot whose node is not known is left out, for nothing would check it',
    serverUpserts(held(), wanted([], [{ node: 'n1', weight: 1 }]), checked),
    [],
  ],
])('%s', (_, commands, expected) => {
  expect(commands).toEqual(expected);
});

test('what is left over goes, servers in slots before the nodes that they track', () => {
  const present = held({ server: 'n1' }, { server: 'n2', isOut: true }, inSlot, { backend: 'stranger', server: 'x' });
  expect(leftoverServers(present, wanted([n1]))).toEqual([
    { id: `${slot}/${inSlot.server}`, backend: slot, isOut: false },
    { id: 'nodes4/n2', backend: 'nodes4', isOut: true },
  ]);
});
