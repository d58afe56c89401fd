import { expect, test } from 'vitest';
import { upsert } from '../../../test/make/haproxy-rig.ts';
import { makeReloadRig, withProfile } from '../../../test/make/reload-rig.ts';
import { listener, node, tableOf } from '../../../test/make/table.ts';

const { signal } = new AbortController();
const nodes = [node('n1', '192.0.2.11')];
const plain = listener('192.0.2.51', 80, 30_080);
const table = tableOf([plain, withProfile(5_000)], nodes);

test('a reload that takes five seconds is one signal and one reload', async () => {
  const rig = makeReloadRig();
  await upsert(rig, tableOf([plain], nodes));
  const slow = Promise.withResolvers<void>();
  rig.machine.faults.slowReload = slow.promise;
  const done = rig.proxy.upsert(table, signal);
  await rig.clock.advance(5_000);
  expect(rig.machine.held?.map.size).toBe(1);
  slow.resolve();
  await rig.clock.drive(done);
  await upsert(rig, table);
  expect([rig.reloads(), rig.machine.starts, rig.machine.held?.map.size]).toEqual([1, 2, 2]);
});

test('a signal that the master has lost is sent again', async () => {
  const rig = makeReloadRig();
  await upsert(rig, tableOf([plain], nodes));
  rig.machine.faults.lostReloads = 1;
  await rig.clock.drive(rig.proxy.upsert(table, signal));
  expect([rig.reloads(), rig.machine.starts, rig.machine.held?.map.size]).toEqual([2, 2, 2]);
});

test('a master that has just started gets one signal, as soon as it answers', async () => {
  const rig = makeReloadRig();
  await upsert(rig, tableOf([plain], nodes));
  const startedMs = rig.clock.monotonic();
  rig.machine.faults.isMasterStarting = true;
  const done = rig.proxy.upsert(table, signal);
  await rig.clock.advance(500);
  rig.machine.faults.isMasterStarting = false;
  await rig.clock.drive(done);
  expect([rig.reloads(), rig.machine.starts, rig.machine.held?.map.size]).toEqual([1, 2, 2]);
  expect(rig.clock.monotonic() - startedMs).toBeLessThan(600);
});
