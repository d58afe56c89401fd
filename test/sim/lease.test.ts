import { expect, test } from 'vitest';
import { microTime } from '../../src/kube/lease-object.ts';
import { until } from './harness.ts';
import { leaseScene } from './lease-scene.ts';

test('a Lease without a holder is taken at once', async () => {
  await using scene = await leaseScene();
  const { held, record } = scene;
  const { mine } = await held('box-1');
  expect(mine.isHolder()).toBe(true);
  expect(record()).toMatchObject({ holderIdentity: 'box-1', leaseDurationSeconds: 15, leaseTransitions: 0 });
  expect(record()?.['renewTime']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
});

test('the own Lease is taken again at once after a crash, as a new tenure', async () => {
  await using scene = await leaseScene();
  const { server, clock, held, record } = scene;
  server.put('Lease', {
    metadata: { namespace: 'kube-system', name: 'furiwake' },
    spec: { holderIdentity: 'box-1', leaseDurationSeconds: 15, leaseTransitions: 4 },
  });
  const { mine } = await held('box-1');
  expect([mine.isHolder(), clock.monotonic(), record()?.['leaseTransitions']]).toEqual([true, 0, 5]);
});

test('it is renewed every five seconds, with one request each', async () => {
  await using scene = await leaseScene();
  const { held, pass, requestsOf } = scene;
  const { mine } = await held('box-1');
  await pass(60_000);
  expect(mine.isHolder()).toBe(true);
  expect(requestsOf('update')).toBe(12);
  expect(requestsOf('get', 'create')).toBe(2);
});

test('another holder is named once, waited for while it renews, and succeeded when it stops', async () => {
  await using scene = await leaseScene();
  const { server, clock, waiting, pass, record, holder } = scene;
  const renewElsewhere = (): void => {
    const spec = { holderIdentity: 'box-1', leaseDurationSeconds: 15, renewTime: microTime(clock.now()) };
    server.put('Lease', { metadata: { namespace: 'kube-system', name: 'furiwake' }, spec });
  };
  renewElsewhere();
  const { mine, told, acquired } = waiting('box-2');
  for (let turn = 0; turn < 4; turn += 1) {
    await pass(10_000);
    renewElsewhere();
  }
  await pass(14_000);
  expect([holder(), mine.isHolder(), told]).toEqual([
    'box-1',
    false,
    [{ identity: 'box-1', kind: 'other', expiresInMs: 15_000 }],
  ]);
  await pass(5_000);
  await acquired;
  expect([holder(), mine.isHolder(), record()?.['leaseTransitions'], told]).toEqual([
    'box-2',
    true,
    1,
    [expect.anything()],
  ]);
});

test('it ends when another host has taken it, and names the host', async () => {
  await using scene = await leaseScene();
  const { server, held, pass, holder } = scene;
  const { mine, loss } = await held('box-1');
  const spec = { holderIdentity: 'box-2', leaseDurationSeconds: 15 };
  server.put('Lease', { metadata: { namespace: 'kube-system', name: 'furiwake' }, spec });
  await pass(6_000);
  expect(await loss).toEqual({ holder: 'box-2', isCopy: false });
  expect([mine.isHolder(), holder()]).toEqual([false, 'box-2']);
});

test('an unreachable API server does not end it, but forbids writes until it is renewed again', async () => {
  await using scene = await leaseScene();
  const { server, held, pass, holder } = scene;
  const { mine, loss } = await held('box-1');
  let isOver = false;
  void loss.then(() => (isOver = true));
  server.faults.next({ mishap: { answer: 503 }, on: () => true, times: 20 });
  await pass(9_000);
  expect(mine.isHolder()).toBe(true);
  await pass(2_000);
  expect(mine.isHolder()).toBe(false);
  await pass(70_000);
  expect([isOver, mine.isHolder(), holder()]).toEqual([false, true, 'box-1']);
});

test('a renewal that is never answered does not forbid writes: the next one succeeds in time', async () => {
  await using scene = await leaseScene();
  const { server, harness, clock, held, requestsOf } = scene;
  const { mine } = await held('box-1');
  server.faults.next({ mishap: 'hang', on: ({ verb }) => verb === 'update' });
  await clock.advance(5_000);
  await until(() => requestsOf('update') === 1);
  const retry = clock.untilSleeping(500, 500);
  await clock.advance(3_000);
  await retry;
  await clock.advance(500);
  await until(() => requestsOf('update') === 2);
  await harness.settled();
  await clock.advance(1_500);
  expect(mine.isHolder()).toBe(true);
});

test('a renewal whose answer was lost is recognised as the own one', async () => {
  await using scene = await leaseScene();
  const { server, held, pass, holder } = scene;
  const { mine } = await held('box-1');
  server.faults.next({ mishap: 'lost-answer', on: ({ verb }) => verb === 'update' });
  await pass(30_000);
  expect([mine.isHolder(), holder()]).toEqual([true, 'box-1']);
});

test('a second process with the same identity takes over, and the first one loses the Lease', async () => {
  await using scene = await leaseScene();
  const { held, pass } = scene;
  const first = await held('box-1');
  const second = await held('box-1');
  await pass(6_000);
  expect(await first.loss).toEqual({ holder: 'box-1', isCopy: false });
  expect([first.mine.isHolder(), second.mine.isHolder()]).toEqual([false, true]);
});

test('a Lease that was deleted is created again', async () => {
  await using scene = await leaseScene();
  const { server, held, pass, holder } = scene;
  const { mine } = await held('box-1');
  server.remove('Lease', 'kube-system/furiwake');
  await pass(20_000);
  expect([mine.isHolder(), holder()]).toEqual([true, 'box-1']);
});

test('after it is released, the next host need not wait', async () => {
  await using scene = await leaseScene();
  const { clock, held, record, holder } = scene;
  const { stop, loss, mine } = await held('box-1');
  stop.abort();
  expect(await loss).toBeUndefined();
  expect([holder(), mine.isHolder()]).toEqual(['box-1', true]);
  await mine.release();
  expect([holder(), mine.isHolder()]).toEqual(['', false]);
  const next = await held('box-2');
  expect([next.mine.isHolder(), clock.monotonic(), record()?.['leaseTransitions']]).toEqual([true, 0, 1]);
});

test('of two hosts that claim it at the same time one gets it', async () => {
  await using scene = await leaseScene();
  const { harness, lease, newStop } = scene;
  const stop = newStop();
  const both = [lease('box-1'), lease('box-2')];
  void Promise.all(both.map((each) => each.acquire(stop.signal).catch(() => undefined)));
  await harness.settled();
  expect(both.filter((each) => each.isHolder())).toHaveLength(1);
});

test('a lasting failure is logged once, not every two seconds', async () => {
  await using scene = await leaseScene();
  const { server, lease, newStop, pass } = scene;
  const mine = lease('box-1');
  const stop = newStop();
  server.faults.next({ mishap: { answer: 403 }, times: 5 });
  const acquired = mine.acquire(stop.signal);
  await pass(25_000);
  await acquired;
  expect(mine.log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
});

test.each([3_600_000, -3_600_000])('a wall clock that jumps by %i ms changes nothing', async (byMs) => {
  await using scene = await leaseScene();
  const { clock, waiting, held, pass, holder } = scene;
  const first = await held('box-1');
  const second = waiting('box-2');
  await pass(8_000);
  clock.setWallClock(byMs);
  await pass(30_000);
  expect([first.mine.isHolder(), second.mine.isHolder(), holder()]).toEqual([true, false, 'box-1']);
  first.stop.abort();
  await first.loss;
  await first.mine.release();
  await pass(4_000);
  await second.acquired;
  void second.mine.hold(second.stop.signal);
  clock.setWallClock(-2 * byMs);
  await pass(30_000);
  expect(second.mine.isHolder()).toBe(true);
});

test('reports why the Lease cannot be renewed, until it can', async () => {
  await using scene = await leaseScene();
  const { server, held, pass } = scene;
  const { mine } = await held('box-1');
  server.faults.tokens = new Set();
  await pass(6_000);
  expect(mine.trouble()).toContain('401');
  expect(mine.log.lines.map(({ message }) => message)).toEqual(['access to the Lease failed; retrying']);
  server.faults.tokens = undefined;
  await pass(6_000);
  expect(mine.trouble()).toBeUndefined();
});
