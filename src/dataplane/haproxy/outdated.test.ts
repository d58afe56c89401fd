import { expect, test } from 'vitest';
import { makeMachineRig } from '../../../test/make/haproxy-rig.ts';
import { listener, node, tableOf } from '../../../test/make/table.ts';
import { allPrepared } from '../../../test/make/unprepared.ts';

/* The worker is no longer as the adapter has left it. */

const { signal } = new AbortController();
const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
const [one, two] = [listener('192.0.2.51', 80, 30_080), listener('192.0.2.52', 80, 30_080)];

test('a change that is refused because another program changed the worker is made after the worker was read again', async () => {
  const { machine, proxy, log } = makeMachineRig();
  await proxy.upsert(tableOf([one, two], nodes), signal);
  machine.held?.map.delete('192.0.2.51|80');
  machine.held?.servers.delete('nodes4/n2');
  const moved = listener('192.0.2.51', 80, 30_081);
  const draining = nodes.map((each) => ({ ...each, state: 'drain' as const }));
  expect(await proxy.upsert(tableOf([moved, two], draining), signal)).toEqual(allPrepared);
  expect(machine.held?.map.get('192.0.2.51|80')).toContain('|30081|');
  expect([...(machine.held?.servers.keys() ?? [])]).toEqual(['nodes4/n1', 'nodes4/n2']);
  expect(log.lines.filter(({ level }) => level !== 'info')).toEqual([]);
});

test('a new worker gets the orders of the health module again', async () => {
  const silent = new Set<string>();
  const { machine, proxy, clock } = makeMachineRig({
    probed: (address) => (silent.has(address) ? 'silent' : 'alive'),
  });
  const stop = new AbortController();
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  await proxy.upsert(tableOf([one], nodes), stop.signal);
  await clock.advance(3_000);
  silent.add('192.0.2.12');
  const orders: string[] = [];
  machine.faults.command = (command) => {
    if (command === 'set server nodes4/n2 health down') orders.push(command);
    return undefined;
  };
  await clock.advance(5_000);
  expect(orders).toHaveLength(1);
  machine.die();
  await clock.advance(5_000);
  expect([machine.starts, orders.length]).toEqual([2, 2]);
  stop.abort();
  await running;
});

test('after reloads with the configuration of another program that of furiwake is loaded again, after growing waits', async () => {
  const { machine, proxy, clock } = makeMachineRig();
  const stop = new AbortController();
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  await proxy.upsert(tableOf([one], nodes), stop.signal);
  await clock.advance(3_000);
  const path = '/run/furiwake/net-1/haproxy/haproxy.cfg';
  const reloadForeign = (): void => {
    const ours = machine.texts.get(path) ?? '';
    machine.texts.set(path, 'global\n    description "other"\n');
    machine.kill(machine.held?.pid ?? 0, 'SIGUSR2');
    machine.texts.set(path, ours);
  };
  reloadForeign();
  await clock.advance(2_000);
  expect([machine.starts, machine.held?.map.size]).toEqual([3, 1]);
  for (let second = 0; second < 60; second++) {
    if (machine.held?.backends.size !== 0) reloadForeign();
    await clock.advance(1_000);
  }
  expect(machine.starts).toBeLessThan(50);
  await clock.advance(10_000);
  expect(await proxy.upsert(tableOf([one, two], nodes), stop.signal)).toEqual(allPrepared);
  expect(machine.held?.map.size).toBe(2);
  stop.abort();
  await running;
});
