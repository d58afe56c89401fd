import { expect, test } from 'vitest';
import { recordLog, recordMetrics } from '../../../test/sim/observers.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import type { ProgramId } from './config.ts';
import { makeReloads } from './reloads.ts';

const { signal } = new AbortController();
const program = 'program' as ProgramId;

function makeRig() {
  const clock = virtualClock();
  const [log, metrics] = [recordLog(), recordMetrics()];
  let old = 0;
  let known = 0;
  const count = async (): Promise<number> => (known = old);
  const oldWorkers = { known: () => known, count };
  const reloads = makeReloads({ process: { reload: async () => undefined }, oldWorkers, clock, log, metrics });
  return {
    reloads,
    clock,
    metrics,
    setOld: (workers: number) => {
      old = workers;
    },
    logged: () => new Set(log.lines.map(({ message }) => message)),
    /** Fails, and resolves with the time until the next attempt. */
    fail: async (isSaid = false): Promise<number> => {
      reloads.failed(new Error('out of memory'), isSaid);
      const failedMs = clock.monotonic();
      while (!reloads.isDue(false)) await clock.advance(100);
      return clock.monotonic() - failedMs;
    },
  };
}

test('each failure doubles the wait for the next reload, up to half a minute; a success ends that', async () => {
  const { reloads, fail, logged, metrics } = makeRig();
  expect(reloads.isDue(false)).toBe(true);
  const waits: number[] = [];
  for (let time = 0; time < 7; time++) waits.push(await fail());
  expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  expect(logged()).toEqual(new Set(['reloading HAProxy failed; retrying']));
  expect(metrics.total('furiwake_reloads_total')).toBe(0);
  await reloads.reload(program, false, signal);
  expect(logged()).toContain('reloading HAProxy works again');
  expect(metrics.total('furiwake_reloads_total')).toBe(1);
  expect(await fail()).toBe(1000);
});

test('a failure with a line of its own in the log is not logged again, and is the cause of the refusals', async () => {
  const { reloads, fail, logged } = makeRig();
  await fail(true);
  expect(logged().size).toBe(0);
  const key = '192.0.2.51|80|TCP' as ListenerKey;
  expect(reloads.refusalsOf([key])).toEqual(new Map([[key, 'HAProxy: out of memory']]));
});

test('after five reloads the next ones wait, longer each time, and their listeners say until when; a calm half hour ends that', async () => {
  const { reloads, clock } = makeRig();
  const key = '192.0.2.51|80|TCP' as ListenerKey;
  const waits: number[] = [];
  const reload = async (): Promise<void> => {
    const startMs = clock.monotonic();
    while (!reloads.isDue(false)) await clock.advance(10_000);
    waits.push(clock.monotonic() - startMs);
    await reloads.reload(program, false, signal);
  };
  for (let time = 0; time < 11; time++) await reload();
  expect(waits.map((ms) => ms / 60_000)).toEqual([0, 0, 0, 0, 0, 1, 2, 4, 8, 10, 10]);
  const until = new Date(clock.now() + 600_000).toISOString().slice(0, 19);
  expect(reloads.refusalsOf([key]).get(key)).toBe(
    `the port needs a reload of HAProxy; after 11 reloads in succession, the next one is at ${until}Z`,
  );
  await clock.advance(30 * 60_000);
  waits.length = 0;
  for (let time = 0; time < 6; time++) await reload();
  expect(waits.map((ms) => ms / 60_000)).toEqual([0, 0, 0, 0, 0, 1]);
});

test('a growth of the spare backends does not count as one of the reloads in succession', async () => {
  const { reloads } = makeRig();
  for (let time = 0; time < 8; time++) await reloads.reload(program, true, signal);
  expect(reloads.isDue(false)).toBe(true);
});

test('while eight replaced workers have connections no reload is due, and its listeners say so', async () => {
  const { reloads, setOld } = makeRig();
  const key = '192.0.2.51|80|TCP' as ListenerKey;
  setOld(7);
  expect(await reloads.mayReload(false, signal)).toBe(true);
  setOld(8);
  expect(reloads.isDue(false)).toBe(true); // not counted yet
  expect(await reloads.mayReload(false, signal)).toBe(false);
  expect(reloads.isDue(false)).toBe(false);
  expect(reloads.refusalsOf([key]).get(key)).toBe(
    'the port needs a reload of HAProxy; 8 workers that reloads have replaced still have connections, and the next reload is when one of them has ended',
  );
  setOld(7);
  expect(await reloads.mayReload(false, signal)).toBe(true);
});

test('a growth of the spare backends waits for neither the pace nor the workers, only for the end of a failure', async () => {
  const { reloads, setOld, fail } = makeRig();
  for (let time = 0; time < 6; time++) await reloads.reload(program, false, signal);
  setOld(8);
  expect([reloads.isDue(false), await reloads.mayReload(false, signal)]).toEqual([false, false]);
  expect([reloads.isDue(true), await reloads.mayReload(true, signal)]).toEqual([true, true]);
  reloads.failed(new Error('out of memory'), true);
  expect([reloads.isDue(true), await reloads.mayReload(true, signal), reloads.hasFailed()]).toEqual([
    false,
    false,
    true,
  ]);
  await fail(true);
  expect(await reloads.mayReload(true, signal)).toBe(true);
});
