import { expect, test } from 'vitest';
import { byKey, makeService, makeSite, poolOf } from '../../test/make/service.ts';
import { tableOf } from '../../test/make/table.ts';
import { recordLog, recordMetrics } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { Service } from '../core/model/service.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { pauseMs } from '../core/status/conflict.ts';
import { emptyReport } from '../core/traffic/report.ts';
import { makeServiceWriter } from './service-writer.ts';

const { signal } = new AbortController();

/** A Service without an address, whose status the writer writes to a store in memory. */
function makeScene() {
  const service = makeService('a');
  const { key } = service;
  const clock = virtualClock();
  const log = recordLog();
  let stored: Service = service;
  let written = 0;
  const services = byKey([service]);
  const writer = makeServiceWriter({
    services: {
      objects: () => byKey([stored]),
      versionOf: () => '1',
      put: (object) => {
        stored = { ...object, spec: service.spec }; // a store keeps what is equal
      },
    },
    plan: () => ({
      services,
      ours: services,
      eligibility: PersistentMap.from([[key, 'ours' as const]]),
      assignments: PersistentMap.from([
        [
          key,
          {
            addresses: [],
            verdict: { reason: 'PoolExhausted', message: 'no address is free' },
            refused: [],
            disowned: [],
            keepsStatus: false,
            waitsForHost: false,
            isHostAddress: false,
          },
        ],
      ]),
      records: PersistentMap.empty(),
      pool: poolOf(makeSite(['192.0.2.8'])),
      table: tableOf([]),
      overBudget: new Set(),
      nodeTrouble: { 4: undefined, 6: undefined },
    }),
    host: { publish: () => undefined, report: () => emptyReport, subscribe: () => () => undefined },
    holders: { holds: () => false },
    endpoints: () => 1,
    writes: {
      finalizers: () => Promise.reject(new Error('no finalizer is missing')),
      status: async ({ name, namespace, uid, finalizers }, { ingress, conditions }) => {
        written++;
        return {
          metadata: { name, namespace, uid, finalizers, resourceVersion: '1' },
          status: { loadBalancer: { ingress }, conditions },
        };
      },
    },
    mayWrite: () => true,
    recordEvent: () => undefined,
    clock,
    log,
    metrics: recordMetrics(),
  });
  return {
    clock,
    log,
    written: () => written,
    /** Another client empties the status. */
    clear: () => {
      stored = { ...stored, status: { ...stored.status, conditions: [] } };
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
