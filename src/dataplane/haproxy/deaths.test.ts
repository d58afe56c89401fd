import { expect, test } from 'vitest';
import { type Exec, ExecError } from '../../ports/exec.ts';
import { makeHaproxyMachine } from '../../../test/make/haproxy-machine.ts';
import { type MachineRig, makeMachineRig, serve } from '../../../test/make/haproxy-rig.ts';
import { listener, node, tableOf } from '../../../test/make/table.ts';

const table = tableOf([listener('192.0.2.51', 80, 30_080)], [node('n1', '192.0.2.11')]);

test('a HAProxy that dies is started at once, and a second time', async () => {
  const rig = makeMachineRig();
  const { machine, proxy, clock, log } = rig;
  const stop = new AbortController();
  const parts = Promise.allSettled([proxy.run(stop.signal), serve(rig, () => table, stop.signal)]);
  await clock.advance(20_000);
  for (let death = 1; death <= 2; death++) {
    machine.die();
    await clock.advance(0);
    expect(machine.held?.map.size).toBe(1);
  }
  const words = 'HAProxy exited unexpectedly and was started again; its connections were lost';
  expect(log.lines.filter(({ level }) => level !== 'info')).toMatchObject([
    { level: 'error', message: words },
    { level: 'warn', message: 'keeping HAProxy running failed; retrying', fields: { err: words } },
  ]);
  stop.abort();
  await parts;
});

test('a start that ends later than it is waited for has not failed if its worker serves', async () => {
  const machine = makeHaproxyMachine('/run/furiwake/net-1/haproxy');
  let isSlow = false;
  const run: Exec['run'] = async (file, args, options) => {
    const answer = await machine.exec.run(file, args, options);
    if (isSlow && args.includes('-D')) throw new ExecError('haproxy', undefined, 'timed out after 10000 ms');
    return answer;
  };
  const rig = makeMachineRig({ machine: { ...machine, exec: { ...machine.exec, run } } });
  const { proxy, clock, log, metrics } = rig;
  const stop = new AbortController();
  const parts = Promise.allSettled([proxy.run(stop.signal), serve(rig, () => table, stop.signal)]);
  await clock.advance(20_000);
  const { starts } = machine;
  isSlow = true;
  machine.die();
  await clock.advance(5_000);
  expect(machine.starts).toBe(starts + 1);
  expect(metrics.total('furiwake_haproxy_restarts_total')).toBe(1);
  expect(log.lines.filter(({ level }) => level !== 'info').map(({ message }) => message)).toEqual([
    'HAProxy exited unexpectedly and was started again; its connections were lost',
  ]);
  stop.abort();
  await parts;
});

test('a worker that answers only after its start was given up is the one that was started', async () => {
  const rig = makeMachineRig();
  const { machine, proxy, clock, log, metrics } = rig;
  const stop = new AbortController();
  const parts = Promise.allSettled([proxy.run(stop.signal), serve(rig, () => table, stop.signal)]);
  await clock.advance(20_000);
  const { starts } = machine;
  machine.faults.isFrozen = true;
  machine.die();
  await clock.advance(15_000);
  machine.faults.isFrozen = false;
  await clock.advance(15_000);
  expect(machine.starts).toBe(starts + 1);
  expect(metrics.total('furiwake_haproxy_restarts_total')).toBe(1);
  const messages = log.lines.filter(({ level }) => level !== 'info').map(({ message }) => message);
  expect(messages.filter((each) => !each.startsWith('running HAProxy failed'))).toEqual([
    'HAProxy exited unexpectedly and was started again; its connections were lost',
  ]);
  stop.abort();
  await parts;
});

/** Death after death, each so long after the last start; with the waits for these starts. */
async function dieEvery({ machine, clock }: MachineRig, lifeMs: number, deaths: number): Promise<readonly number[]> {
  const waits: number[] = [];
  for (let death = 1; death <= deaths; death++) {
    await clock.advance(lifeMs);
    machine.die();
    const diedMs = clock.monotonic();
    while (machine.held === undefined) await clock.advance(50);
    waits.push(clock.monotonic() - diedMs);
  }
  return waits;
}

test.each([
  [12_000, 20, 10_000, 'an outage until it has lived for longer'],
  [31_000, 20, 10_000, 'an outage until it has lived for longer'],
  [60_000, 20, 4_000, 'an outage until it has lived for longer'],
  [180_000, 10, 250, 'no outage'],
])(
  'a HAProxy that dies %d ms after each start, %d times, is started after waits that grow to %d ms, logged at growing intervals, and %s',
  async (lifeMs, deaths, leastMs, outage) => {
    const rig = makeMachineRig();
    const { proxy, clock, log } = rig;
    const stop = new AbortController();
    const parts = Promise.allSettled([proxy.run(stop.signal), serve(rig, () => table, stop.signal)]);
    await clock.advance(20_000);
    const lines = log.lines.length;
    const waits = await dieEvery(rig, lifeMs, deaths);
    expect(waits.slice(0, 2).every((ms) => ms <= 50)).toBe(true);
    expect(Math.min(...waits.slice(9))).toBeGreaterThanOrEqual(leastMs);
    expect(Math.max(...waits)).toBeLessThan(16_000);
    const outages = new Set<string | undefined>();
    for (const each of [1, 2, 3]) {
      outages.add(proxy.outage());
      await dieEvery(rig, lifeMs - each, 1);
      outages.add(proxy.outage());
    }
    expect([...outages]).toEqual([outage === 'no outage' ? undefined : 'HAProxy exits again and again']);
    expect(log.lines.slice(lines).filter(({ level }) => level !== 'debug').length).toBeLessThanOrEqual(18);
    await clock.advance(601_000);
    expect(proxy.outage()).toBeUndefined();
    const messages = log.lines.map(({ message }) => message);
    expect(messages.filter((each) => each === 'keeping HAProxy running works again')).toHaveLength(1);
    stop.abort();
    await parts;
  },
);

test('a HAProxy that died again and again has no outage when it has served for two minutes', async () => {
  const rig = makeMachineRig();
  const stop = new AbortController();
  const parts = Promise.allSettled([rig.proxy.run(stop.signal), serve(rig, () => table, stop.signal)]);
  await dieEvery(rig, 31_000, 12);
  expect(rig.proxy.outage()).toBeDefined();
  await rig.clock.advance(122_000);
  expect([rig.proxy.outage(), rig.proxy.trouble()]).toEqual([undefined, undefined]);
  stop.abort();
  await parts;
});

test('the deaths of a HAProxy are forgotten one by one, ten minutes after each', async () => {
  const rig = makeMachineRig();
  const stop = new AbortController();
  const parts = Promise.allSettled([rig.proxy.run(stop.signal), serve(rig, () => table, stop.signal)]);
  await dieEvery(rig, 20_000, 4);
  const waits = [];
  for (const lifeMs of [500_000, 60_000, 600_000]) waits.push(...(await dieEvery(rig, lifeMs, 1)));
  expect(waits).toEqual([1_000, 500, 50]); // five, four and one within ten minutes
  stop.abort();
  await parts;
});

test.each([
  ['at once', undefined],
  ['after a start that failed', 'no memory'],
])('a HAProxy whose sockets were removed, and that another one replaces %s, has not died', async (_, failure) => {
  const rig = makeMachineRig();
  const { machine, proxy, clock, log, metrics } = rig;
  const stop = new AbortController();
  const parts = Promise.allSettled([proxy.run(stop.signal), serve(rig, () => table, stop.signal)]);
  await clock.advance(20_000);
  machine.faults.hasLostSockets = true;
  machine.faults.start = failure;
  await clock.advance(3_000);
  machine.faults.start = undefined;
  await clock.advance(20_000);
  expect(machine.held?.map.size).toBe(1);
  const words = 'the sockets of HAProxy were lost: a new process accepts connections, the old one keeps its own';
  const messages = log.lines.filter(({ level }) => level !== 'info').map(({ message }) => message);
  expect(messages.filter((each) => !each.startsWith('running HAProxy failed'))).toEqual([words]);
  expect(metrics.total('furiwake_haproxy_restarts_total')).toBe(0);
  stop.abort();
  await parts;
});
