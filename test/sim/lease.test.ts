import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Lease, type LeaseLoss, makeLease } from '../../src/kube/lease.ts';
import { microTime } from '../../src/kube/lease-object.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type Harness, makeHarness } from './harness.ts';
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

function lease(identity: string): Lease & { readonly log: ReturnType<typeof recordLog> } {
  const log = recordLog();
  const { client } = harness;
  const made = makeLease({
    client,
    namespace: 'kube-system',
    name: 'furiwake',
    identity,
    clock,
    random,
    log,
  });
  return { ...made, log };
}

/** A lease that is held by `identity`, and what ends it. */
async function held(identity: string): Promise<{ mine: Lease; stop: AbortController; loss: Promise<LeaseLoss> }> {
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

test('a lease that nobody has is taken at once', async () => {
  const { mine } = await held('box-1');
  expect(mine.isHeld()).toBe(true);
  expect(record()).toMatchObject({ holderIdentity: 'box-1', leaseDurationSeconds: 15, leaseTransitions: 0 });
  expect(record()?.['renewTime']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
});

test('our own lease is taken back at once after a crash', async () => {
  server.put('Lease', {
    metadata: { namespace: 'kube-system', name: 'furiwake' },
    spec: { holderIdentity: 'box-1', leaseDurationSeconds: 15, leaseTransitions: 4 },
  });
  const { mine } = await held('box-1');
  expect([mine.isHeld(), clock.monotonic(), record()?.['leaseTransitions']]).toEqual([true, 0, 4]);
});

test('it is renewed every five seconds, with one request each', async () => {
  const { mine } = await held('box-1');
  await pass(60_000);
  expect(mine.isHeld()).toBe(true);
  expect(requestsOf('update')).toBe(12);
  expect(requestsOf('get', 'create')).toBe(2);
});

test('another holder is named once, waited for while it renews, and followed when it falls silent', async () => {
  const renewElsewhere = (): void => {
    const spec = { holderIdentity: 'box-1', leaseDurationSeconds: 15, renewTime: microTime(clock.now()) };
    server.put('Lease', { metadata: { namespace: 'kube-system', name: 'furiwake' }, spec });
  };
  const told: string[] = [];
  const mine = lease('box-2');
  const stop = new AbortController();
  stops.push(stop);
  renewElsewhere();
  const acquired = mine.acquire(stop.signal, (name) => told.push(name));
  for (let turn = 0; turn < 4; turn += 1) {
    await pass(10_000);
    renewElsewhere();
  }
  await pass(14_000);
  expect([holder(), mine.isHeld(), told]).toEqual(['box-1', false, ['box-1']]);
  await pass(5_000);
  await acquired;
  expect([holder(), mine.isHeld(), record()?.['leaseTransitions'], told]).toEqual(['box-2', true, 1, ['box-1']]);
});

test('it ends when another one has taken it, and says who', async () => {
  const { mine, loss } = await held('box-1');
  const spec = { holderIdentity: 'box-2', leaseDurationSeconds: 15 };
  server.put('Lease', { metadata: { namespace: 'kube-system', name: 'furiwake' }, spec });
  await pass(6_000);
  expect(await loss).toEqual({ reason: 'taken', holder: 'box-2' });
  expect([mine.isHeld(), holder()]).toEqual([false, 'box-2']);
});

test('an API server that is out of reach does not end it, but forbids to write; back again, it goes on', async () => {
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

test('a renewal whose answer was lost is known as our own', async () => {
  const { mine } = await held('box-1');
  server.faults.next({ mishap: 'lost-answer', on: ({ verb }) => verb === 'update' });
  await pass(30_000);
  expect([mine.isHeld(), holder()]).toEqual([true, 'box-1']);
});

test('a second process of the same identity takes over, and the first one ends', async () => {
  const first = await held('box-1');
  const second = await held('box-1');
  await pass(6_000);
  expect(await first.loss).toEqual({ reason: 'taken', holder: 'box-1' });
  expect([first.mine.isHeld(), second.mine.isHeld()]).toEqual([false, true]);
});

test('a lease that somebody deleted is made anew', async () => {
  const { mine } = await held('box-1');
  server.remove('Lease', 'kube-system/furiwake');
  await pass(20_000);
  expect([mine.isHeld(), holder()]).toEqual([true, 'box-1']);
});

test('it is given back at the end, and the next one need not wait', async () => {
  const { stop, loss, mine } = await held('box-1');
  stop.abort();
  expect(await loss).toEqual({ reason: 'released' });
  expect([holder(), mine.isHeld()]).toEqual(['', false]);
  const next = await held('box-2');
  expect([next.mine.isHeld(), clock.monotonic(), record()?.['leaseTransitions']]).toEqual([true, 0, 1]);
});

test('of two that reach for it at the same time one gets it', async () => {
  const stop = new AbortController();
  stops.push(stop);
  const both = [lease('box-1'), lease('box-2')];
  void Promise.all(both.map((each) => each.acquire(stop.signal).catch(() => undefined)));
  await harness.settled();
  expect(both.filter((each) => each.isHeld())).toHaveLength(1);
});

test('a trouble is told once, not every two seconds, and its end too', async () => {
  const mine = lease('box-1');
  const stop = new AbortController();
  stops.push(stop);
  server.faults.next({ mishap: { answer: 403 }, times: 5 });
  const acquired = mine.acquire(stop.signal);
  await pass(25_000);
  await acquired;
  expect(mine.log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
});
