import { expect, test } from 'vitest';
import type { LeaseHolder } from '../../src/kube/lease-observer.ts';
import { leaseScene } from './lease-scene.ts';

/* Other processes that want the Lease: candidates, and a namesake. */

test('a candidate registers itself, renews its entry every ten seconds, and removes it when it holds the Lease', async () => {
  await using scene = await leaseScene();
  const { waiting, held, pass, holder, candidates } = scene;
  const first = await held('box-1');
  const second = waiting('box-2');
  await pass(6_000);
  expect(first.mine.others).toEqual(['box-2']);
  expect(second.mine.others).toEqual(['box-1']);
  const before = candidates()['box-2'];
  await pass(14_000);
  expect(first.mine.isHolder()).toBe(true);
  expect(Date.parse(candidates()['box-2'] ?? '') - Date.parse(before ?? '')).toBeGreaterThanOrEqual(10_000);
  first.stop.abort();
  await first.loss;
  await first.mine.release();
  await pass(4_000);
  await second.acquired;
  expect([holder(), candidates()]).toEqual(['box-2', {}]);
});

test('of many candidates the Lease names eight, and a damaged annotation none', async () => {
  await using scene = await leaseScene();
  const { server, waiting, held, pass, holder, candidates } = scene;
  await held('box-0');
  server.put('Lease', {
    ...server.get('Lease', 'kube-system/furiwake'),
    metadata: { namespace: 'kube-system', name: 'furiwake', annotations: { 'furiwake.dev/candidates': '{"a":1,' } },
  });
  for (let index = 1; index <= 10; index += 1) {
    waiting(`box-${index}`);
    await pass(3_000);
  }
  await pass(20_000);
  expect(Object.keys(candidates())).toHaveLength(8);
  expect(holder()).toBe('box-0');
});

test('it is released although a candidate wrote its entry since the last renewal', async () => {
  await using scene = await leaseScene();
  const { harness, waiting, held, pass, holder, candidates } = scene;
  const first = await held('box-1');
  await pass(5_000);
  const second = waiting('box-2');
  await harness.settled();
  expect(candidates()).toHaveProperty('box-2');
  first.stop.abort();
  await first.loss;
  await first.mine.release();
  expect([holder(), first.mine.log.lines]).toEqual(['', []]);
  await pass(4_000);
  await second.acquired;
});

test('an older Lease of this process, as after a restore of etcd, is taken again at once', async () => {
  await using scene = await leaseScene();
  const { server, newStop, held, pass } = scene;
  const { mine, loss } = await held('box-1');
  const backup = server.get('Lease', 'kube-system/furiwake');
  await pass(40_000);
  server.put('Lease', { metadata: { namespace: 'kube-system', name: 'furiwake' }, spec: backup?.spec ?? {} });
  await pass(6_000);
  expect(await loss).toEqual({ holder: 'box-1', isCopy: true });
  const told: LeaseHolder[] = [];
  await mine.acquire(newStop().signal, (of) => told.push(of));
  expect([mine.isHolder(), told, mine.others]).toEqual([true, [], []]);
});

test('an older Lease of this process is not taken at once when another host may have held it since the last renewal', async () => {
  await using scene = await leaseScene();
  const { server, newStop, held, pass } = scene;
  const { mine, stop } = await held('box-1');
  const backup = server.get('Lease', 'kube-system/furiwake');
  await pass(40_000);
  stop.abort(); // no renewal any more, as without an API server
  await pass(15_000);
  server.put('Lease', { metadata: { namespace: 'kube-system', name: 'furiwake' }, spec: backup?.spec ?? {} });
  const told: LeaseHolder[] = [];
  const acquired = mine.acquire(newStop().signal, (of) => told.push(of));
  await pass(13_000);
  expect([mine.isHolder(), told.map(({ kind }) => kind)]).toEqual([false, ['unknown']]);
  await pass(5_000);
  await acquired;
  expect(mine.isHolder()).toBe(true);
});

test('a Lease of an earlier process, as after a restore of etcd, is taken again after its duration, without a namesake', async () => {
  await using scene = await leaseScene();
  const { server, newStop, held, pass } = scene;
  const { mine, loss } = await held('box-1');
  const { spec } = server.get('Lease', 'kube-system/furiwake') ?? {};
  await pass(40_000);
  const earlier = { ...spec, acquireTime: '2020-01-01T00:00:00.000000Z', renewTime: '2020-01-01T00:00:00.000000Z' };
  server.put('Lease', { metadata: { namespace: 'kube-system', name: 'furiwake' }, spec: earlier });
  await pass(6_000);
  expect(await loss).toEqual({ holder: 'box-1', isCopy: false });
  const stop = newStop();
  const told: LeaseHolder[] = [];
  const acquired = mine.acquire(stop.signal, (of) => told.push(of));
  await pass(13_000);
  expect([mine.isHolder(), told.map(({ kind }) => kind)]).toEqual([false, ['unknown']]);
  await pass(5_000);
  await acquired;
  expect([mine.isHolder(), told.length, mine.others]).toEqual([true, 1, []]);
});

test('another process that keeps renewing with the same identity is a namesake, and the host is not alone', async () => {
  await using scene = await leaseScene();
  const { newStop, held, pass } = scene;
  const first = await held('box-1');
  const copy = await held('box-1');
  await pass(6_000);
  await first.loss;
  const stop = newStop();
  const told: LeaseHolder[] = [];
  void first.mine.acquire(stop.signal, (of) => told.push(of)).catch(() => undefined);
  await pass(30_000);
  expect(told.map(({ kind }) => kind)).toEqual(['unknown', 'namesake']);
  expect([first.mine.isHolder(), copy.mine.isHolder(), first.mine.others]).toEqual([false, true, ['box-1']]);
  // It waits as a candidate, so its namesake also learns of it.
  expect(copy.mine.others).toEqual(['box-1']);
});
