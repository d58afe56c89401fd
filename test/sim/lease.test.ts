import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Acquisition, type Lease, type LeaseLoss, makeLease } from '../../src/kube/lease.ts';
import type { LeaseHolder } from '../../src/kube/lease-observer.ts';
import { microTime } from '../../src/kube/lease-object.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type Harness, makeHarness, until } from './harness.ts';
import { recordLog } from './observers.ts';
import { seededRandom, type VirtualClock, virtualClock } from './virtual-clock.ts';

let server: SimApiServer;
let harness: Harness;
let clock: VirtualClock;
const stops: AbortController[] = [];
const random = seededRandom(5);

beforeEach(async () => {
  server = await startSimApiServer({ seed: 3 });
  clock = virtualClock();
  harness = await makeHarness(server, { clock });
});

afterEach(async () => {
  for (const stop of stops.splice(0)) stop.abort();
  await harness[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const record = (): Readonly<Record<string, unknown>> | undefined => server.get('Lease', 'kube-system/furiwake')?.spec;
const holder = (): unknown => record()?.['holderIdentity'];
const requestsOf = (...verbs: readonly string[]): number =>
  server.requests.filter(({ verb }) => verbs.includes(verb)).length;

type Made = Lease & { readonly log: ReturnType<typeof recordLog>; readonly others: readonly string[] };

function lease(identity: string): Made {
  const log = recordLog();
  const others: string[] = [];
  const { client } = harness;
  const made = makeLease({
    client,
    namespace: 'kube-system',
    name: 'furiwake',
    identity,
    clock,
    random,
    log,
    onOther: (other) => others.push(other),
  });
  return { ...made, log, others };
}

/** Waits for the Lease; records the reported holders, in order. */
function waiting(identity: string): {
  mine: Made;
  told: LeaseHolder[];
  acquired: Promise<Acquisition>;
  stop: AbortController;
} {
  const mine = lease(identity);
  const stop = new AbortController();
  stops.push(stop);
  const told: LeaseHolder[] = [];
  const acquired = mine.acquire(stop.signal, (of) => told.push(of));
  acquired.catch(() => undefined);
  return { mine, told, acquired, stop };
}

const candidates = (): Readonly<Record<string, string>> =>
  JSON.parse(
    server.get('Lease', 'kube-system/furiwake')?.metadata.annotations?.['furiwake.dev/candidates'] ?? '{}',
  ) as Record<string, string>;

/** A lease that is held by `identity`, and its end. */
async function held(
  identity: string,
): Promise<{ mine: Made; stop: AbortController; loss: Promise<LeaseLoss | undefined> }> {
  const mine = lease(identity);
  const stop = new AbortController();
  stops.push(stop);
  await mine.acquire(stop.signal);
  return { mine, stop, loss: mine.hold(stop.signal) };
}

/** Lets time pass, waiting for the answers of the requests that it causes. */
async function pass(ms: number): Promise<void> {
  for (let done = 0; done < ms; done += 1_000) {
    await clock.advance(1_000);
    await harness.settled();
  }
}

test('a Lease without a holder is taken at once', async () => {
  const { mine } = await held('box-1');
  expect(mine.isHeld()).toBe(true);
  expect(record()).toMatchObject({ holderIdentity: 'box-1', leaseDurationSeconds: 15, leaseTransitions: 0 });
  expect(record()?.['renewTime']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
});

test('the own Lease is taken again at once after a crash, as a new tenure', async () => {
  server.put('Lease', {
    metadata: { namespace: 'kube-system', name: 'furiwake' },
    spec: { holderIdentity: 'box-1', leaseDurationSeconds: 15, leaseTransitions: 4 },
  });
  const { mine } = await held('box-1');
  expect([mine.isHeld(), clock.monotonic(), record()?.['leaseTransitions']]).toEqual([true, 0, 5]);
});

test('it is renewed every five seconds, with one request each', async () => {
  const { mine } = await held('box-1');
  await pass(60_000);
  expect(mine.isHeld()).toBe(true);
  expect(requestsOf('update')).toBe(12);
  expect(requestsOf('get', 'create')).toBe(2);
});

test('another holder is named once, waited for while it renews, and succeeded when it stops', async () => {
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
  expect([holder(), mine.isHeld(), told]).toEqual([
    'box-1',
    false,
    [{ identity: 'box-1', kind: 'other', expiresInMs: 15_000 }],
  ]);
  await pass(5_000);
  await acquired;
  expect([holder(), mine.isHeld(), record()?.['leaseTransitions'], told]).toEqual([
    'box-2',
    true,
    1,
    [expect.anything()],
  ]);
});

test('it ends when another host has taken it, and names the host', async () => {
  const { mine, loss } = await held('box-1');
  const spec = { holderIdentity: 'box-2', leaseDurationSeconds: 15 };
  server.put('Lease', { metadata: { namespace: 'kube-system', name: 'furiwake' }, spec });
  await pass(6_000);
  expect(await loss).toEqual({ holder: 'box-2' });
  expect([mine.isHeld(), holder()]).toEqual([false, 'box-2']);
});

test('an unreachable API server does not end it, but forbids writes until it is renewed again', async () => {
  const { mine, loss } = await held('box-1');
  let isOver = false;
  void loss.then(() => (isOver = true));
  server.faults.next({ mishap: { answer: 503 }, on: () => true, times: 20 });
  await pass(9_000);
  expect(mine.isHeld()).toBe(true);
  await pass(2_000);
  expect(mine.isHeld()).toBe(false);
  await pass(70_000);
  expect([isOver, mine.isHeld(), holder()]).toEqual([false, true, 'box-1']);
});

test('a renewal that is never answered does not forbid writes: the next one succeeds in time', async () => {
  const { mine } = await held('box-1');
  server.faults.next({ mishap: 'hang', on: ({ verb }) => verb === 'update' });
  await clock.advance(5_000);
  await until(() => requestsOf('update') === 1);
  const retry = clock.untilSleeping(1_000, 1_000);
  await clock.advance(3_000);
  await retry;
  await clock.advance(1_000);
  await until(() => requestsOf('update') === 2);
  await harness.settled();
  await clock.advance(1_500);
  expect(mine.isHeld()).toBe(true);
});

test('a renewal whose answer was lost is recognised as the own one', async () => {
  const { mine } = await held('box-1');
  server.faults.next({ mishap: 'lost-answer', on: ({ verb }) => verb === 'update' });
  await pass(30_000);
  expect([mine.isHeld(), holder()]).toEqual([true, 'box-1']);
});

test('a second process with the same identity takes over, and the first one loses the Lease', async () => {
  const first = await held('box-1');
  const second = await held('box-1');
  await pass(6_000);
  expect(await first.loss).toEqual({ holder: 'box-1' });
  expect([first.mine.isHeld(), second.mine.isHeld()]).toEqual([false, true]);
});

test('a Lease that was deleted is created again', async () => {
  const { mine } = await held('box-1');
  server.remove('Lease', 'kube-system/furiwake');
  await pass(20_000);
  expect([mine.isHeld(), holder()]).toEqual([true, 'box-1']);
});

test('after it is released, the next host need not wait', async () => {
  const { stop, loss, mine } = await held('box-1');
  stop.abort();
  expect(await loss).toBeUndefined();
  expect([holder(), mine.isHeld()]).toEqual(['box-1', true]);
  await mine.release();
  expect([holder(), mine.isHeld()]).toEqual(['', false]);
  const next = await held('box-2');
  expect([next.mine.isHeld(), clock.monotonic(), record()?.['leaseTransitions']]).toEqual([true, 0, 1]);
});

test('of two hosts that claim it at the same time one gets it', async () => {
  const stop = new AbortController();
  stops.push(stop);
  const both = [lease('box-1'), lease('box-2')];
  void Promise.all(both.map((each) => each.acquire(stop.signal).catch(() => undefined)));
  await harness.settled();
  expect(both.filter((each) => each.isHeld())).toHaveLength(1);
});

test('a lasting failure is logged once, not every two seconds', async () => {
  const mine = lease('box-1');
  const stop = new AbortController();
  stops.push(stop);
  server.faults.next({ mishap: { answer: 403 }, times: 5 });
  const acquired = mine.acquire(stop.signal);
  await pass(25_000);
  await acquired;
  expect(mine.log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
});

test('a candidate registers itself, renews its entry every ten seconds, and removes it when it holds the Lease', async () => {
  const first = await held('box-1');
  const second = waiting('box-2');
  await pass(6_000);
  expect(first.mine.others).toEqual(['box-2']);
  expect(second.mine.others).toEqual(['box-1']);
  const before = candidates()['box-2'];
  await pass(14_000);
  expect(first.mine.isHeld()).toBe(true);
  expect(Date.parse(candidates()['box-2'] ?? '') - Date.parse(before ?? '')).toBeGreaterThanOrEqual(10_000);
  first.stop.abort();
  await first.loss;
  await first.mine.release();
  await pass(4_000);
  await second.acquired;
  expect([holder(), candidates()]).toEqual(['box-2', {}]);
});

test('of many candidates the Lease names eight, and a damaged annotation none', async () => {
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

test('a Lease in an older state, as after a restore of etcd, is taken again after its duration, without a namesake', async () => {
  const { mine, loss } = await held('box-1');
  const backup = server.get('Lease', 'kube-system/furiwake');
  await pass(40_000);
  server.put('Lease', { metadata: { namespace: 'kube-system', name: 'furiwake' }, spec: backup?.spec ?? {} });
  await pass(6_000);
  expect(await loss).toEqual({ holder: 'box-1' });
  const stop = new AbortController();
  stops.push(stop);
  const told: LeaseHolder[] = [];
  const acquired = mine.acquire(stop.signal, (of) => told.push(of));
  await pass(13_000);
  expect([mine.isHeld(), told.map(({ kind }) => kind)]).toEqual([false, ['unknown']]);
  await pass(5_000);
  await acquired;
  expect([mine.isHeld(), told.length, mine.others]).toEqual([true, 1, []]);
});

test('another process that keeps renewing with the same identity is a namesake, and the host is not alone', async () => {
  const first = await held('box-1');
  const copy = await held('box-1');
  await pass(6_000);
  await first.loss;
  const stop = new AbortController();
  stops.push(stop);
  const told: LeaseHolder[] = [];
  void first.mine.acquire(stop.signal, (of) => told.push(of)).catch(() => undefined);
  await pass(30_000);
  expect(told.map(({ kind }) => kind)).toEqual(['unknown', 'namesake']);
  expect([first.mine.isHeld(), copy.mine.isHeld(), first.mine.others]).toEqual([false, true, ['box-1']]);
  // It waits as a candidate, so its namesake also learns of it.
  expect(copy.mine.others).toEqual(['box-1']);
});

test.each([3_600_000, -3_600_000])('a wall clock that jumps by %i ms changes nothing', async (byMs) => {
  const first = await held('box-1');
  const second = waiting('box-2');
  await pass(8_000);
  clock.setWallClock(byMs);
  await pass(30_000);
  expect([first.mine.isHeld(), second.mine.isHeld(), holder()]).toEqual([true, false, 'box-1']);
  first.stop.abort();
  await first.loss;
  await first.mine.release();
  await pass(4_000);
  await second.acquired;
  void second.mine.hold(second.stop.signal);
  clock.setWallClock(-2 * byMs);
  await pass(30_000);
  expect(second.mine.isHeld()).toBe(true);
});

test('reports why the Lease cannot be renewed, until it can', async () => {
  const { mine } = await held('box-1');
  server.faults.tokens = new Set();
  await pass(6_000);
  expect(mine.trouble()).toContain('401');
  expect(mine.log.lines.map(({ message }) => message)).toEqual(['access to the Lease failed; retrying']);
  server.faults.tokens = undefined;
  await pass(6_000);
  expect(mine.trouble()).toBeUndefined();
});
