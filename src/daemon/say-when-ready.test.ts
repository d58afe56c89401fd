import { expect, test } from 'vitest';
import { byKey, makeService, makeSite, poolOf, tcp } from '../../test/make/service.ts';
import { blankReport } from '../../test/make/status.ts';
import { addressOf, listener, nodeName, tableOf } from '../../test/make/table.ts';
import { type LogLine, recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { makeLatch } from '../async/latch.ts';
import type { Assignment } from '../core/addresses/assignment.ts';
import type { ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Verdict } from '../core/reasons.ts';
import type { ListenerReport } from '../core/traffic/report.ts';
import type { Listener } from '../core/traffic/table.ts';
import { sayWhenReady, type SayWhenReadyDeps } from './say-when-ready.ts';

const assignment = (...addresses: readonly string[]): Assignment => ({
  addresses: addresses.map((text) => ({ ip: addressOf(text), isHostAddress: false, served: [tcp(80)], unserved: [] })),
  verdict: { reason: 'Assigned', message: '' },
  refused: [],
  disowned: [],
  waitsForHost: false,
  keepsStatus: false,
});
const services = byKey(['a', 'b', 'c'].map((name) => makeService(name)));
const [a, b, c] = [...services.keys()] as [ServiceKey, ServiceKey, ServiceKey];
const ofA = listener('192.0.2.200', 80, 30_080, { service: a });
const ofB = listener('192.0.2.201', 80, 30_080, { service: b });

function planOf(...listeners: readonly Listener[]): ReturnType<SayWhenReadyDeps['plan']> {
  return {
    assignments: PersistentMap.from([
      [a, assignment('192.0.2.200')],
      [b, assignment('192.0.2.201')],
      [c, assignment()],
    ]),
    table: tableOf(listeners),
    pool: poolOf(makeSite(['192.0.2.200-192.0.2.210'])),
  };
}

const inForce = ({ service, revision }: Listener): ListenerReport => ({
  ...blankReport,
  holder: service,
  revision,
  isForwarding: true,
});
const refused = ({ revision }: Listener): ListenerReport => ({
  ...blankReport,
  refusal: { revision, verdict: { reason: 'DataplaneError', message: 'no' } },
});

/** A start without the Lease, whose state changes step by step; `logged` has the lines after each step. */
function start(): {
  readonly state: { plan: ReturnType<SayWhenReadyDeps['plan']>; notReady: readonly string[] };
  readonly report: (listener: Listener, report: ListenerReport) => void;
  readonly logged: (ms?: number) => Promise<readonly string[]>;
  readonly looks: () => number;
  readonly advance: (ms: number) => Promise<void>;
  readonly stop: () => Promise<void>;
} {
  const clock = virtualClock();
  const log = recordLog();
  const changed = makeLatch();
  const stop = new AbortController();
  const state = { plan: planOf(), notReady: ['the Lease is not held'] as readonly string[] };
  let listeners = PersistentMap.empty<Listener['key'], ListenerReport>();
  let looks = 0;
  const running = sayWhenReady(
    {
      plan: () => state.plan,
      report: () => ({ listeners }),
      nodeStates: () =>
        new Map([
          [nodeName('n1'), 'up'],
          [nodeName('n2'), 'silent'],
        ]),
      notReady: () => {
        looks += 1;
        return state.notReady;
      },
      changed,
      clock,
      log,
    },
    stop.signal,
  );
  return {
    state,
    report: ({ key }, report) => {
      listeners = listeners.with([[key, report]]);
    },
    logged: async (ms = 0) => {
      changed.set();
      await clock.advance(ms);
      await clock.advance(0);
      return log.lines.map(({ message }: LogLine) => message);
    },
    looks: () => looks,
    advance: (ms) => clock.advance(ms),
    stop: async () => {
      stop.abort();
      await clock.drive(running.catch(() => undefined)); // it was waiting
    },
  };
}

const pool = 'pool 192.0.2.200-192.0.2.210: 2 of 11 used';

test('says once that it is ready, when every listener is in force', async () => {
  const { state, report, logged, stop } = start();
  expect(await logged()).toEqual([]);
  state.notReady = [];
  expect(await logged()).toEqual([]); // the Services have no listeners yet
  state.plan = planOf(ofA, ofB);
  report(ofA, inForce(ofA));
  expect(await logged()).toEqual([]); // one is not programmed yet
  report(ofB, { ...inForce(ofB), revision: inForce(ofA).revision });
  expect(await logged()).toEqual([]); // an earlier revision is in force
  report(ofB, inForce(ofB));
  const lines = [pool, 'ready: 2 Services served, 1 without an address; nodes: 1 up, 1 silent'];
  expect(await logged()).toEqual(lines);
  expect(await logged()).toEqual(lines);
  await stop();
});

test('says that the pool is the own addresses of the host', async () => {
  const { state, logged, stop } = start();
  state.notReady = [];
  const own = assignment('192.0.2.200');
  const addresses = own.addresses.map((address) => ({ ...address, isHostAddress: true, served: [] }));
  state.plan = { ...planOf()!, assignments: PersistentMap.from([[a, { ...own, addresses }]]) };
  expect((await logged(10_000))[0]).toBe("pool 192.0.2.200-192.0.2.210: this host's own, which Services share by port");
  await stop();
});

test('a refused listener delays nothing, and is counted', async () => {
  const { state, report, logged, stop } = start();
  state.notReady = [];
  state.plan = planOf(ofA, ofB);
  report(ofA, inForce(ofA));
  report(ofB, refused(ofB));
  expect(await logged()).toEqual([
    pool,
    'ready: 1 Service served, 1 not served, 1 without an address; nodes: 1 up, 1 silent',
  ]);
  await stop();
});

test('a Service that waits only for its new settings is served', async () => {
  const { state, report, logged, stop } = start();
  state.notReady = [];
  state.plan = planOf(ofA, ofB);
  report(ofA, inForce(ofA));
  const verdict: Verdict = { reason: 'SettingsWaiting', message: 'needs a reload' };
  report(ofB, { ...inForce(ofB), revision: inForce(ofA).revision, refusal: { revision: ofB.revision, verdict } });
  expect((await logged())[1]).toContain('ready: 2 Services served, 1 without an address');
  await stop();
});

test('waits ten seconds at most for a Service that gets no listeners', async () => {
  const { state, report, logged, stop } = start();
  state.notReady = [];
  state.plan = planOf(ofA);
  report(ofA, inForce(ofA));
  expect(await logged(9_999)).toEqual([]);
  expect((await logged(1)).at(-1)).toMatch(/^ready: 1 Service served, 1 pending, 1 without an address;/);
  await stop();
});

test('looks only after a change', async () => {
  const { state, looks, logged, advance, stop } = start();
  await logged();
  const before = looks();
  state.notReady = [];
  await advance(60_000);
  expect(looks()).toBe(before);
  await stop();
});
