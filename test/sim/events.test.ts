import { afterEach, beforeEach, expect, test } from 'vitest';
import type { EventFacts } from '../../src/kube/event-object.ts';
import { type EventSender, makeEventSender } from '../../src/kube/events.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type Harness, makeHarness } from './harness.ts';
import { recordLog } from './observers.ts';
import type { SimObject } from './kinds.ts';
import { seededRandom, type VirtualClock, virtualClock } from './virtual-clock.ts';

let server: SimApiServer;
let harness: Harness;
let clock: VirtualClock;
let sender: EventSender;
let stop: AbortController;
let running: Promise<void>;
let log: ReturnType<typeof recordLog>;

beforeEach(async () => {
  server = await startSimApiServer({ seed: 4 });
  clock = virtualClock();
  harness = await makeHarness(server, { clock });
  stop = new AbortController();
  log = recordLog();
  sender = makeEventSender({
    client: harness.client,
    clock,
    random: seededRandom(6),
    log,
    metrics: harness.metrics,
    reportingController: 'furiwake.dev/controller',
    reportingInstance: 'box-1',
  });
  running = sender.run(stop.signal);
});

afterEach(async () => {
  stop.abort();
  await running;
  await harness[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const about = (name: string, note = 'published', namespace = 'default'): EventFacts => ({
  regarding: { apiVersion: 'v1', kind: 'Service', namespace, name, uid: `uid-${name}` },
  type: 'Normal',
  reason: 'AddressAssigned',
  action: 'Publish',
  note,
});

const events = (): readonly (SimObject & { series?: { count: number } })[] => server.list('Event');

/** Lets time pass a second at a time, waiting for the answers of the requests that it causes. */
async function pass(seconds: number): Promise<void> {
  for (let done = 0; done < seconds; done += 1) {
    await clock.advance(1_000);
    await harness.settled();
  }
}

test('an event is sent a moment later, with all fields that the API requires', async () => {
  sender.record(about('web'));
  await clock.advance(499);
  expect(server.requests).toEqual([]);
  await pass(1);
  expect(events()).toMatchObject([
    {
      metadata: { namespace: 'default', name: expect.stringMatching(/^web\.[0-9a-f]+$/) as string },
      eventTime: '2026-01-01T00:00:00.000000Z',
      type: 'Normal',
      reason: 'AddressAssigned',
      action: 'Publish',
      note: 'published',
      regarding: { kind: 'Service', name: 'web', uid: 'uid-web' },
      reportingController: 'furiwake.dev/controller',
      reportingInstance: 'box-1',
    },
  ]);
});

test('a repetition is one Event whose count rises, with fewer and fewer writes', async () => {
  for (let turn = 0; turn < 100; turn += 1) {
    sender.record(about('web'));
    await pass(1);
  }
  expect(events().map(({ series }) => series?.count)).toEqual([64]);
  expect(server.requests.map(({ verb }) => verb)).toEqual(['create', ...Array.from({ length: 6 }, () => 'patch')]);
});

test('an event that was repeated before it was sent has its count from the start', async () => {
  for (let turn = 0; turn < 5; turn += 1) sender.record(about('web'));
  await pass(2);
  expect(events().map(({ series }) => series?.count)).toEqual([5]);
  expect(server.requests).toHaveLength(1);
});

test('another object, reason, type or note is another Event; so is the same one after six quiet minutes', async () => {
  sender.record(about('web'));
  sender.record(about('api'));
  sender.record(about('web', 'moved'));
  sender.record({ ...about('web'), reason: 'PoolExhausted' });
  sender.record({ ...about('web'), type: 'Warning' });
  await pass(2);
  expect(events()).toHaveLength(5);
  await pass(361);
  sender.record(about('web'));
  await pass(1);
  expect(events()).toHaveLength(6);
});

test('25 are sent at once, then one a second, one at a time', async () => {
  for (let index = 0; index < 60; index += 1) sender.record(about(`s${index}`));
  await pass(1);
  expect(events().length).toBe(25);
  await pass(10);
  expect(events().length).toBe(35);
});

test('beyond a thousand waiting Events new ones are counted and dropped', () => {
  for (let index = 0; index < 1_100; index += 1) sender.record(about(`s${index}`));
  expect(harness.metrics.total('furiwake_events_dropped_total', { reason: 'queue-full' })).toBe(100);
});

test('a namespace that is being deleted is not an error, and delays no other Event', async () => {
  server.put('Namespace', { metadata: { name: 'ending' } });
  server.remove('Namespace', 'ending');
  server.faults.next({ mishap: { answer: 404 }, on: ({ path }) => path.includes('/gone/') });
  for (const namespace of ['ending', 'gone', 'default']) sender.record(about('web', namespace, namespace));
  await pass(2);
  expect(events().map(({ metadata }) => metadata.namespace)).toEqual(['default']);
  expect(server.requests.map(({ status }) => status)).toEqual([403, 404, 201]);
  expect(harness.metrics.total('furiwake_events_dropped_total')).toBe(0);
});

test('a transient failure is retried; a lost answer creates no second Event', async () => {
  server.faults.next({ mishap: { answer: 500 } });
  server.faults.next({ mishap: 'lost-answer' });
  sender.record(about('web'));
  await pass(20);
  expect(events()).toHaveLength(1);
  expect(server.requests).toHaveLength(3);
  sender.record(about('web'));
  await pass(5);
  expect(events().map(({ series }) => series?.count)).toEqual([2]);
  expect(harness.metrics.total('furiwake_events_dropped_total')).toBe(0);
});

test('a lasting failure drops the Event after five attempts, and a forbidden one at once', async () => {
  server.faults.next({ mishap: { answer: 500 }, times: 5 });
  sender.record(about('web'));
  await pass(120);
  server.faults.next({ mishap: { answer: 403 } });
  sender.record(about('api'));
  await pass(5);
  expect(events()).toEqual([]);
  expect(server.requests).toHaveLength(6);
  expect(harness.metrics.total('furiwake_events_dropped_total', { reason: 'failed' })).toBe(2);
});

test('an Event that the cluster has deleted is created again', async () => {
  sender.record(about('web'));
  await pass(1);
  const [first] = events();
  server.remove('Event', `default/${first?.metadata.name}`);
  sender.record(about('web'));
  await pass(3);
  expect(events().map(({ series }) => series?.count)).toEqual([2]);
});

test('Events that the API server refuses are one log line, until it takes one of each namespace again', async () => {
  server.faults.next({ mishap: { answer: 403 }, times: 40 });
  for (let index = 0; index < 40; index += 1) sender.record(about(`s${index}`, 'published', `n${index % 2}`));
  await pass(30);
  const lines = (): readonly string[] =>
    log.lines.filter(({ level }) => level !== 'debug').map(({ message }) => message);
  expect(lines()).toEqual(['sending Events failed; retrying']);
  sender.record(about('a', 'published', 'n0'));
  await pass(5);
  expect(lines()).toHaveLength(1);
  sender.record(about('b', 'published', 'n1'));
  await pass(5);
  expect(lines()).toEqual(['sending Events failed; retrying', 'sending Events works again']);
});
