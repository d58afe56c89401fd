import { expect, test } from 'vitest';
import { makeMachineRig } from '../../../../test/make/haproxy-rig.ts';
import { localListener, localTable, node } from '../../../../test/make/table.ts';
import { ip } from '../../../../test/make/service.ts';
import type { NodeName } from '../../../core/model/names.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import { plainServer } from '../../../core/traffic/options.ts';
import { parseServersState } from '../runtime/answers.ts';
import { makeHeldSpares } from './held-spares.ts';
import { nodeServer } from './spare-servers.ts';

const { signal } = new AbortController();
const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];

test('the servers of a node in spare backends are found by its name and family', () => {
  const lines = [
    'be_name srv_name srv_addr srv_admin_state srv_uweight srv_check_state srv_port',
    'spare4-0 n1 192.0.2.11 0 1 6 0',
    'spare4-1 n1:30525:proxy2 192.0.2.11 0 1 6 30525',
    'spare4-1 n10 192.0.2.20 0 1 6 0',
    'spare6-0 n1 2001:db8::11 0 1 6 0',
    'nodes4 n1 192.0.2.11 0 1 6 0',
  ];
  const held = makeHeldSpares(parseServersState(`1\n# ${lines.join('\n')}`));
  expect(held.serversOf(4, 'n1')).toEqual(['spare4-0/n1', 'spare4-1/n1:30525:proxy2']);
  expect(held.serversOf(6, 'n1')).toEqual(['spare6-0/n1']);
});

test('servers without a check of their own get the health of their node, each time that it differs', () => {
  const lines = [
    'be_name srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_check_state srv_port',
    'spare4-0 n1 192.0.2.11 2 0 1 2 0',
    'spare4-0 n2 192.0.2.12 0 0 1 2 0',
    'spare4-1 n1:30525:proxy2 192.0.2.11 2 0 1 2 30525',
    'spare4-2 n1:30525:check 192.0.2.11 2 0 1 6 30525',
    'spare6-0 n1 2001:db8::11 2 0 1 2 0',
  ];
  const held = makeHeldSpares(parseServersState(`1\n# ${lines.join('\n')}`));
  expect(held.follow(new Set())).toEqual(['set server spare4-0/n2 health up']);
  expect(held.follow(new Set(['nodes4/n1']))).toEqual([
    'set server spare4-0/n1 health down',
    'set server spare4-1/n1:30525:proxy2 health down',
  ]);
  expect(held.follow(new Set(['nodes4/n1']))).toEqual([]);
  const added = nodeServer(
    { node: 'n1' as NodeName, family: 4, address: ip('192.0.2.11'), isDraining: false },
    { node: 'n1' as NodeName, weight: 1, isDraining: false },
    0,
    { options: plainServer, silent: new Set(), isAffine: false },
  );
  held.upserts(PersistentMap.from([['spare4-7', [added]]]));
  expect(held.follow(new Set(['nodes4/n1']))).toEqual(['set server spare4-7/n1 health down']);
});

test('a server of a spare backend that HAProxy does not delete stays in maintenance, and is deleted later', async () => {
  const { machine, proxy } = makeMachineRig();
  const local = localListener('192.0.2.53', 80, 30_081, 'test/local');
  const tableWith = (weights: Readonly<Record<string, number>>) => localTable([[local, weights]], nodes);
  await proxy.upsert(tableWith({ n1: 1, n2: 1 }), signal);
  machine.faults.command = (command) =>
    command === 'del server spare4-0/n2' ? 'Server still has connections attached to it, cannot remove.' : undefined;
  const next = tableWith({ n1: 1 });
  await proxy.upsert(next, signal);
  await proxy.prune(next, signal);
  expect(machine.held?.inMaintenance).toEqual(new Set(['spare4-0/n2']));
  expect(await proxy.audit(next, signal)).toBe(0);
  machine.faults.command = () => undefined;
  await proxy.prune(next, signal);
  expect([...(machine.held?.servers.keys() ?? [])]).toEqual(['nodes4/n1', 'nodes4/n2', 'spare4-0/n1']);
});

test('a spare backend that is released after the worker was read again loses its servers', async () => {
  const rig = makeMachineRig();
  const { machine, proxy, clock } = rig;
  const stop = new AbortController();
  const running = Promise.allSettled([proxy.run(stop.signal)]); // it reads the worker after the first change
  const local = localListener('192.0.2.53', 80, 30_081, 'test/local');
  for (const listeners of [[local], []]) {
    const table = localTable(
      listeners.map((each) => [each, { n1: 1 }]),
      nodes,
    );
    await Promise.all([proxy.upsert(table, stop.signal), clock.advance(100)]);
    await Promise.all([proxy.prune(table, stop.signal), clock.advance(100)]);
  }
  expect([...(machine.held?.servers.keys() ?? [])]).toEqual(['nodes4/n1', 'nodes4/n2']);
  stop.abort();
  await running;
});
