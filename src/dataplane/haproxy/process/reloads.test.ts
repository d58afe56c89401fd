import { expect, test } from 'vitest';
import { recordLog, recordMetrics } from '../../../../test/sim/observers.ts';
import { virtualClock } from '../../../../test/sim/virtual-clock.ts';
import type { ProgramId } from '../config/config.ts';
import { makeReloads, type Need } from './reloads.ts';

const { signal } = new AbortController();
const program = 'program' as ProgramId;

function needOf(...namespaces: readonly string[]): Need {
  return { isForAll: false, namespaces: new Set(namespaces) };
}

const shop = needOf('shop');
const forAll: Need = { ...shop, isForAll: true };

function makeRig() {
  const clock = virtualClock();
  const [log, metrics] = [recordLog(), recordMetrics()];
  let old: readonly number[] = [];
  let known = old;
  const find = async (): Promise<readonly number[]> => (known = old);
  const oldWorkers = { known: () => known, find };
  const reloads = makeReloads({ process: { reload: async () => undefined }, oldWorkers, clock, log, metrics });
  let pid = 1;
  return {
    reloads,
    clock,
    metrics,
    /** Workers that were replaced for none of the namespaces, or those with these process IDs. */
    setOld: (pids: number | readonly number[]) => {
      old = typeof pids === 'number' ? Array.from({ length: pids }, (_, index) => 1000 + index) : pids;
    },
    old: () => old,
    logged: () => new Set(log.lines.map(({ message }) => message)),
    reload: (need: Need = shop) => reloads.reload(program, need, pid++, signal),
    /** The replaced worker keeps a connection. False if the reload must wait. */
    leaveOld: async (need: Need): Promise<boolean> => {
      if (!(await reloads.mayReload(need, signal))) return false;
      old = [...old, pid];
      await reloads.reload(program, need, pid++, signal);
      return true;
    },
    /** Fails, and resolves with the time until the next attempt. */
    fail: async (isSaid = false): Promise<number> => {
      reloads.failed(new Error('out of memory'), isSaid);
      const failedMs = clock.monotonic();
      while (reloads.wait(forAll) !== undefined) await clock.advance(100);
      return clock.monotonic() - failedMs;
    },
  };
}

test('each failure doubles the wait for the next reload, up to a minute; a success ends that', async () => {
  const { reloads, reload, fail, logged, metrics } = makeRig();
  expect(reloads.wait(shop)).toBeUndefined();
  const waits: number[] = [];
  for (let time = 0; time < 7; time++) waits.push(await fail());
  expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000]);
  expect(logged()).toEqual(new Set(['reloading HAProxy failed; retrying']));
  expect(metrics.total('furiwake_reloads_total')).toBe(0);
  await reload();
  expect(logged()).toContain('reloading HAProxy works again');
  expect(metrics.total('furiwake_reloads_total')).toBe(1);
  expect(await fail()).toBe(1000);
});

test('a failure with a line of its own in the log is not logged again, and says why a reload waits', async () => {
  const { reloads, logged } = makeRig();
  reloads.failed(new Error('out of memory'), true);
  expect(logged().size).toBe(0);
  expect([reloads.wait(shop), reloads.wait(forAll)]).toEqual(Array(2).fill('the last one failed: out of memory'));
  expect(await reloads.mayReload(forAll, signal)).toBe(false);
});

test('after five reloads the next ones wait, longer each time, and say until when; a calm half hour ends that', async () => {
  const { reloads, reload, clock } = makeRig();
  const waits: number[] = [];
  const attempt = async (): Promise<void> => {
    const startMs = clock.monotonic();
    while (reloads.wait(shop) !== undefined) await clock.advance(10_000);
    waits.push(clock.monotonic() - startMs);
    await reload();
  };
  for (let time = 0; time < 11; time++) await attempt();
  expect(waits.map((ms) => ms / 60_000)).toEqual([0, 0, 0, 0, 0, 1, 2, 4, 8, 10, 10]);
  const until = new Date(clock.now() + 600_000).toISOString().slice(0, 19);
  expect(reloads.wait(shop)).toBe(`after 11 reloads in succession, the next one is at ${until}Z`);
  expect(await reloads.mayReload(shop, signal)).toBe(false);
  await clock.advance(30 * 60_000);
  waits.length = 0;
  for (let time = 0; time < 6; time++) await attempt();
  expect(waits.map((ms) => ms / 60_000)).toEqual([0, 0, 0, 0, 0, 1]);
});

test('a reload that all need does not count as one of the reloads in succession', async () => {
  const { reloads, reload } = makeRig();
  for (let time = 0; time < 8; time++) await reload(forAll);
  expect(reloads.wait(shop)).toBeUndefined();
});

test('while sixteen replaced workers have connections no reload is due, and it says so', async () => {
  const { reloads, setOld } = makeRig();
  setOld(15);
  expect(await reloads.mayReload(shop, signal)).toBe(true);
  setOld(16);
  expect(reloads.wait(shop)).toBeUndefined(); // HAProxy was not asked yet
  expect(await reloads.mayReload(shop, signal)).toBe(false);
  expect(reloads.wait(shop)).toBe(
    '16 workers that reloads have replaced still have connections, 0 of them replaced for namespace shop; the next reload is when one has ended',
  );
  setOld(15);
  expect(await reloads.mayReload(shop, signal)).toBe(true);
});

test('a namespace alone leaves half of the old workers to others; each further one leaves its share', async () => {
  const { leaveOld, clock, setOld, old } = makeRig();
  const leaveAll = async (need: Need): Promise<number> => {
    for (let count = 0; ; count++) {
      await clock.advance(30 * 60_000);
      if (!(await leaveOld(need))) return count;
    }
  };
  expect(await leaveAll(needOf('hostile'))).toBe(4);
  expect(await leaveOld(needOf('hostile', 'shop'))).toBe(true); // one reload is for all that wait
  expect([await leaveAll(shop), await leaveAll(needOf('other')), await leaveAll(needOf('hostile'))]).toEqual([1, 1, 0]);
  expect(await leaveAll(needOf('last'))).toBe(1);
  setOld(old().slice(4)); // those of the first one
  expect(await leaveAll(needOf('hostile'))).toBe(2);
});

test('four namespaces that hold all old workers keep no other from its first reload', async () => {
  const { leaveOld, clock, old } = makeRig();
  for (const namespace of ['a', 'b', 'c', 'd'])
    do await clock.advance(30 * 60_000);
    while (await leaveOld(needOf(namespace)));
  expect(old().length).toBe(8);
  const further: boolean[] = [];
  for (const namespace of ['shop', 'shop', 'a', 'mail', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l']) {
    await clock.advance(30 * 60_000);
    further.push(await leaveOld(needOf(namespace)));
  }
  expect(further).toEqual([true, false, false, true, true, true, true, true, true, true, false, false]);
});

test('a reload that all need waits for neither the pace nor the workers, only for the end of a failure', async () => {
  const { reloads, reload, setOld, fail } = makeRig();
  for (let time = 0; time < 6; time++) await reload();
  setOld(16);
  expect(await reloads.mayReload(shop, signal)).toBe(false);
  expect([reloads.wait(forAll), await reloads.mayReload(forAll, signal)]).toEqual([undefined, true]);
  reloads.failed(new Error('out of memory'), true);
  expect(await reloads.mayReload(forAll, signal)).toBe(false);
  await fail(true);
  expect(await reloads.mayReload(forAll, signal)).toBe(true);
});
