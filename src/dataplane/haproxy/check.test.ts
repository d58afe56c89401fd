import { expect, test } from 'vitest';
import { makeHaproxyMachine } from '../../../test/make/haproxy-machine.ts';
import { type MachineRig, makeMachineRig } from '../../../test/make/haproxy-rig.ts';
import { listener, node, tableOf } from '../../../test/make/table.ts';
import type { Files } from '../../ports/files.ts';

const { signal } = new AbortController();
const folder = '/run/furiwake/net-1/haproxy';
const table = tableOf(
  [listener('192.0.2.51', 80, 30_080), listener('192.0.2.52', 80, 30_080)],
  [node('n1', '192.0.2.11')],
);

/** A HAProxy that serves the table, and the commands that it gets from now on. */
async function start(): Promise<MachineRig & { readonly asked: string[]; readonly read: string[] }> {
  const [asked, read]: [string[], string[]] = [[], []];
  const made = makeHaproxyMachine(folder);
  const { files } = made;
  const readFile: Files['read'] = async (path) => {
    read.push(path);
    return await files.read(path);
  };
  const rig = makeMachineRig({
    machine: Object.defineProperty(made, 'files', { value: { ...files, read: readFile } }),
  });
  const { machine, proxy } = rig;
  await proxy.upsert(table, signal);
  await proxy.prune(table, signal);
  expect(await proxy.audit(table, signal)).toBe(0);
  read.length = 0;
  machine.faults.command = (command) => {
    asked.push(command);
    return undefined;
  };
  return { ...rig, asked, read };
}

test('a check asks for nothing that grows with the number of listeners', async () => {
  const { proxy, asked, read } = await start();
  expect(await proxy.check(table, signal)).toBe(0);
  expect(asked).toEqual(['show info', 'show map', 'show servers state nodes4', 'show servers state nodes6']);
  expect(read.filter((path) => path.startsWith(folder))).toEqual([]);
});

test.each<[string, (rig: MachineRig) => void]>([
  ['has an entry less', ({ machine }) => machine.held?.map.delete('192.0.2.51|80')],
  ['has an entry more', ({ machine }) => machine.held?.map.set('192.0.2.53|80', 'nodes4|30080|')],
  ['lacks the server of a node', ({ machine }) => machine.held?.servers.delete('nodes4/n1')],
  [
    'has the server of a node with another address',
    ({ machine }) => machine.held?.servers.set('nodes4/n1', '192.0.2.9'),
  ],
  ['has the server of a node in maintenance', ({ machine }) => machine.held?.inMaintenance.add('nodes4/n1')],
  ['lost its configuration', ({ machine }) => machine.texts.delete(`${folder}/haproxy.cfg`)],
  ['lost its map file', ({ machine }) => machine.texts.delete(`${folder}/services.map`)],
  ['died', ({ machine }) => machine.die()],
  ['lost its sockets', ({ machine }) => (machine.faults.hasLostSockets = true)],
])('a check is an audit when HAProxy %s', async (_, happen) => {
  const rig = await start();
  happen(rig);
  await Promise.all([rig.proxy.check(table, signal), rig.clock.advance(10_000)]);
  const { machine, proxy } = rig;
  expect([[...(machine.held?.map.keys() ?? [])].toSorted(), [...(machine.held?.servers ?? [])]]).toEqual([
    ['192.0.2.51|80', '192.0.2.52|80'],
    [['nodes4/n1', '192.0.2.11']],
  ]);
  expect([...(machine.held?.inMaintenance ?? [])]).toEqual([]);
  for (const file of ['haproxy.cfg', 'services.map']) expect(machine.texts.has(`${folder}/${file}`)).toBe(true);
  expect(await proxy.audit(table, signal)).toBe(0);
});

test('a check applies another table, and reports another program on the port', async () => {
  const { machine, proxy } = await start();
  await proxy.check(tableOf([listener('192.0.2.51', 80, 30_080)], [node('n1', '192.0.2.11')]), signal);
  expect([...(machine.held?.map.keys() ?? [])]).toEqual(['192.0.2.51|80']);
  machine.faults.portHolder = 'nginx';
  await expect(proxy.check(tableOf([], []), signal)).rejects.toThrow('nginx');
});

test('a check reads the port every five minutes', async () => {
  const { machine, proxy, clock } = await start();
  machine.faults.portHolder = 'nginx';
  await clock.advance(299_000);
  expect(await proxy.check(table, signal)).toBe(0);
  await clock.advance(1_000);
  await expect(proxy.check(table, signal)).rejects.toThrow('nginx');
  await expect(proxy.check(table, signal)).rejects.toThrow('nginx');
});

test('while another program listens on the port, too, HAProxy is out: it serves only some of the connections', async () => {
  const { machine, proxy } = await start();
  let changes = 0;
  using _end = { [Symbol.dispose]: proxy.onTrouble(() => changes++) };
  machine.faults.portHolder = 'nginx';
  for (const _ of [1, 2]) await expect(proxy.audit(table, signal)).rejects.toThrow('nginx');
  const words = 'port 292 of 127.0.0.1 is held by nginx (PID 77): stop it';
  expect([proxy.trouble(), proxy.outage(), changes]).toEqual([words, words, 1]);
  machine.faults.portHolder = undefined;
  expect(await proxy.audit(table, signal)).toBe(0);
  expect([proxy.trouble(), proxy.outage(), changes]).toEqual([undefined, undefined, 2]);
});
