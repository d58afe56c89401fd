import { expect, test } from 'vitest';
import { byKey, makeService, makeSite, poolOf } from '../../test/make/service.ts';
import { tableOf } from '../../test/make/table.ts';
import { recordLog, recordMetrics } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { projectService } from '../api/service.ts';
import type { Assignment } from '../core/addresses/assignment.ts';
import type { ServiceKey, ServiceUid } from '../core/model/names.ts';
import type { Service } from '../core/model/service.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { pauseMs } from '../core/status/conflict.ts';
import { emptyReport } from '../core/traffic/report.ts';
import { KubeError, type KubeErrorCode } from '../kube/errors.ts';
import { makeServiceWriter } from './service-writer.ts';
import type { Unwritten } from './unwritten.ts';

const { signal } = new AbortController();

const withoutAddress: Assignment = {
  addresses: [],
  verdict: { reason: 'PoolExhausted', message: 'no address is free' },
  refused: [],
  disowned: [],
  keepsStatus: false,
  waitsForHost: false,
};

/** A Service without an address, whose status the writer writes to a store in memory. */
function makeScene({
  refusal,
  isOurs = true,
  mayWrite = true,
}: { refusal?: KubeErrorCode; isOurs?: boolean; mayWrite?: boolean } = {}) {
  const heldBack: ServiceKey[] = [];
  const events: string[] = [];
  const ends: string[] = [];
  let service = makeService('a');
  const { key } = service;
  const clock = virtualClock();
  const log = recordLog();
  let stored: Service = service;
  let answered: Service | undefined;
  let written = 0;
  let assignment = withoutAddress;
  const unwritten = new Map<ServiceKey, Unwritten>();
  const writer = makeServiceWriter({
    areEndpointsCurrent: () => true,
    unwritten,
    services: {
      objects: () => byKey([stored]),
      versionOf: () => '1',
      put: (object) => {
        answered = object;
        stored = { ...object, spec: service.spec }; // a store keeps what is equal
      },
    },
    plan: () => ({
      services: byKey([service]),
      ours: byKey([service]),
      eligibility: PersistentMap.from([[key, isOurs ? ('ours' as const) : ('foreign' as const)]]),
      assignments: isOurs ? PersistentMap.from([[key, assignment]]) : PersistentMap.empty(),
      records: PersistentMap.empty(),
      pool: poolOf(makeSite(['192.0.2.8'])),
      table: tableOf([]),
      overBudget: new Set(),
      overProfiles: new Map(),
      overServers: new Map(),
      podPlace: { routed: [], reserved: new Map(), pool: [], zone: undefined, drained: new Set() },
      nodeTrouble: { 4: undefined, 6: undefined },
    }),
    host: { publish: () => undefined, report: () => emptyReport, subscribe: () => () => undefined },
    decodeService: (wire) => projectService(wire, [['furiwake.dev/dataplane', 'haproxy']]),
    holders: { holds: () => false },
    podsOf: () => undefined,
    endpoints: () => (isOurs ? 1 : 0),
    writes: {
      finalizers: () => Promise.reject(new Error('no finalizer is missing')),
      status: async ({ name, namespace, uid, finalizers }, { ingress, conditions }) => {
        written++;
        if (refusal !== undefined)
          throw new KubeError({ code: refusal, verb: 'apply', path: '/x', message: 'refused' });
        return {
          metadata: { name, namespace, uid, finalizers, resourceVersion: '1' },
          status: { loadBalancer: { ingress }, conditions },
        };
      },
    },
    mayWrite: () => mayWrite,
    holdBack: (each) => void heldBack.push(each),
    trouble: { over: () => void ends.push('over'), drop: () => void ends.push('drop') },
    recordEvent: (_, type, reason) => void events.push(`${type} ${reason}`),
    clock,
    log,
    metrics: recordMetrics(),
  });
  return {
    clock,
    log,
    heldBack,
    unwritten: () => unwritten.get(key)?.words,
    written: () => written,
    events: () => events,
    /** How failures to write ended. */
    ends,
    /** The API server refuses writes, or takes them again. */
    refuse: (code: KubeErrorCode | undefined) => (refusal = code),
    /** The user changes the spec, and no plan knows it yet. */
    changeSpec: () => {
      stored = { ...stored, spec: { ...stored.spec, sharingKey: 'x' } };
    },
    /** The Service is deleted, and one with its name is created. */
    createAgain: () => {
      service = { ...service, uid: 'another' as ServiceUid }; // with the same spec
      stored = service;
    },
    answered: () => answered,
    /** The condition says something else. */
    say: (message: string) => {
      assignment = { ...withoutAddress, verdict: { reason: 'PoolExhausted', message } };
    },
    /** The status says that all is well. */
    praise: () => {
      const conditions = stored.status.conditions.map((condition) => ({ ...condition, status: 'True' as const }));
      stored = { ...stored, status: { ...stored.status, conditions } };
    },
    /** Another client adds an address to the status. */
    add: (ip: string) => {
      const ingress = [{ ip, hostname: undefined, ipMode: undefined, ports: [] }];
      stored = { ...stored, status: { ...stored.status, ingress } };
    },
    /** Another client empties the status. */
    clear: () => {
      stored = { ...stored, status: { ...stored.status, conditions: [], ingressManager: 'furiwake' } };
    },
    run: () => writer(key, signal),
  };
}

test.each([0, 3_600_000, -3_600_000])(
  'the pause after a conflict over the status lasts ten minutes, also when the wall clock jumps by %i ms',
  async (byMs) => {
    const { clock, clear, run, written } = makeScene();
    await run();
    for (let write = 0; write < 2; write++) {
      clear();
      await run();
    }
    expect(written()).toBe(3);
    clear();
    expect(await run()).toEqual({ requeueAfterMs: pauseMs });
    clock.setWallClock(byMs);
    await clock.advance(pauseMs / 2);
    expect(await run()).toEqual({ requeueAfterMs: pauseMs / 2 });
    await clock.advance(pauseMs / 2);
    expect(await run()).toBeUndefined();
    expect(written()).toBe(4);
  },
);

test('furiwake does not name itself as the client that changed a status', async () => {
  const { clear, run, log } = makeScene();
  await run();
  clear();
  await run();
  expect(log.lines.map(({ fields }) => fields)).toEqual([
    { service: 'default/a', reason: 'StatusRepaired', manager: undefined },
  ]);
});

test('a 404 is a refusal like any other if the watch still shows the Service after a while', async () => {
  const { run, log } = makeScene({ refusal: 'NOT_FOUND' });
  expect(await run()).toEqual({ requeueAfterMs: 2_000 });
  expect(log.lines.filter(({ level }) => level !== 'debug')).toEqual([]);
  await expect(run()).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('without the Lease a Service whose status differs is held back, and asks for no run of its own', async () => {
  const { run, written, heldBack, unwritten } = makeScene({ mayWrite: false });
  expect(await run()).toBeUndefined();
  expect([written(), heldBack]).toEqual([0, ['default/a']]);
  expect(unwritten()).toBe('the status is not written yet: this host does not hold the Lease');
});

test('a foreign Service without endpoints is not checked again', async () => {
  const { run } = makeScene({ isOurs: false });
  expect(await run()).toBeUndefined();
});

test('the answer to a write is read with the defaults of the site, as the watch reads it', async () => {
  const { run, answered } = makeScene();
  await run();
  expect(answered()?.spec.dataplane).toBe('haproxy');
});

test('a status that the API server does not take is known until it is written', async () => {
  const { run, unwritten, refuse } = makeScene({ refusal: 'UNREACHABLE' });
  await expect(run()).rejects.toMatchObject({ code: 'UNREACHABLE' });
  expect(unwritten()).toBe('the status is not written yet: refused');
  refuse(undefined);
  await run();
  expect(unwritten()).toBeUndefined();
});

test('a refusal is an event when the third write in a row is refused, not when others were written in between', async () => {
  const { run, say, refuse, events } = makeScene();
  for (const message of ['first', 'second', 'third']) {
    refuse('INVALID');
    say(message);
    await expect(run()).rejects.toMatchObject({ code: 'INVALID' });
    refuse(undefined);
    await run();
  }
  expect(events()).not.toContain('Warning WriteRefused');
  refuse('INVALID');
  say('fourth');
  for (const expected of [false, false, true]) {
    await expect(run()).rejects.toMatchObject({ code: 'INVALID' });
    expect(events().includes('Warning WriteRefused')).toBe(expected);
  }
});

test('nothing is written for a spec that is not planned yet', async () => {
  const { run, changeSpec, written } = makeScene();
  changeSpec();
  expect(await run()).toBeUndefined();
  expect(written()).toBe(0);
});

test('a Service with the name of a deleted one inherits no pause', async () => {
  const { clear, createAgain, run, written } = makeScene();
  await run();
  for (let write = 0; write < 2; write++) {
    clear();
    await run();
  }
  clear();
  expect(await run()).toEqual({ requeueAfterMs: pauseMs });
  createAgain();
  expect(await run()).toBeUndefined();
  expect(written()).toBe(4);
});

test('conditions that change again and again are written every ten seconds, the last ones at the latest then', async () => {
  const { add, praise, clock, say, run, written, answered } = makeScene();
  for (let change = 1; change <= 6; change++) {
    say(`change ${change}`);
    expect(await run()).toBeUndefined();
  }
  expect(written()).toBe(6);
  say('change 7');
  expect(await run()).toEqual({ requeueAfterMs: 10_000 });
  await clock.advance(4_000);
  say('change 8');
  expect(await run()).toEqual({ requeueAfterMs: 6_000 });
  expect(written()).toBe(6);
  await clock.advance(6_000);
  expect(await run()).toBeUndefined();
  expect(written()).toBe(7);
  expect(answered()?.status.conditions[0]?.message).toBe('change 8');
  add('203.0.113.9');
  expect(await run()).toBeUndefined();
  expect([written(), answered()?.status.ingress]).toEqual([8, []]);
  praise();
  expect(await run()).toBeUndefined(); // the condition becomes False
  expect([written(), answered()?.status.conditions[0]?.status]).toEqual([9, 'False']);
  say('change 9');
  expect(await run()).toEqual({ requeueAfterMs: 10_000 });
  await clock.advance(60_000);
  for (let change = 10; change <= 15; change++) {
    say(`change ${change}`);
    expect(await run()).toBeUndefined();
  }
});

test('only a write that succeeds ends a failure as over: one that is no longer needed does not', async () => {
  const { run, ends } = makeScene();
  await run();
  await run();
  expect(ends).toEqual(['over', 'drop']);
});
