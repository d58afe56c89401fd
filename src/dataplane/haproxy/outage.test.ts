import { expect, test } from 'vitest';
import { type HaproxyMachine, makeHaproxyMachine } from '../../../test/make/haproxy-machine.ts';
import { type MachineRig, makeMachineRig } from '../../../test/make/haproxy-rig.ts';
import { listener, node, nodeName, tableOf } from '../../../test/make/table.ts';
import type { CheckAnswer } from '../../ports/health.ts';

const nodes = [node('n1', '192.0.2.11')];
const table = tableOf([listener('192.0.2.51', 80, 30_080)], nodes);

test.each<[string, (faults: HaproxyMachine['faults']) => void]>([
  ['hangs', (faults) => (faults.isFrozen = true)],
  ['dies and cannot be started', (faults) => Object.assign(faults, { start: 'no memory', diesAtCommand: true })],
])('a node that becomes silent while HAProxy %s is noticed', async (_, breakDown) => {
  const answers = new Map<string, CheckAnswer>();
  const { machine, proxy, clock, health } = makeMachineRig({ probed: (address) => answers.get(address) ?? 'alive' });
  const stop = new AbortController();
  const two = tableOf([], [...nodes, node('n2', '192.0.2.12')]);
  const running = Promise.allSettled([proxy.run(stop.signal), health.run(() => two.nodes, stop.signal)]);
  await proxy.upsert(two, stop.signal);
  await clock.advance(3000);
  breakDown(machine.faults);
  await clock.advance(1000);
  answers.set('192.0.2.12', 'silent');
  await clock.advance(6000);
  expect(health.verdicts().get(nodeName('n2'))).toEqual({ 4: 'silent' });
  stop.abort();
  await running;
});

/** A HAProxy that has served for a while and then fails in this way. */
async function fail(faults: Partial<HaproxyMachine['faults']>): Promise<MachineRig & AsyncDisposable> {
  const rig = makeMachineRig();
  const stop = new AbortController();
  const running = Promise.allSettled([rig.proxy.run(stop.signal)]);
  await rig.proxy.upsert(table, stop.signal);
  await rig.clock.advance(20_000);
  Object.assign(rig.machine.faults, faults);
  if (faults.isFrozen !== true) rig.machine.die();
  return {
    ...rig,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

test.each<[string, Partial<HaproxyMachine['faults']>]>([
  ['cannot be started', { start: 'no memory' }],
  ['exits right after each start', { diesAfterStart: true }],
  ['hangs', { isFrozen: true }],
])('a HAProxy that %s is an outage, in the same words until it has served for a while', async (_, faults) => {
  await using scene = await fail(faults);
  const { machine, proxy, clock } = scene;
  await clock.advance(4_000);
  expect(proxy.outage()).toBeUndefined();
  await clock.advance(25_000);
  const words = proxy.outage();
  expect(words).toMatch(/HAProxy|no memory/);
  await clock.advance(60_000);
  expect(proxy.outage()).toBe(words);
  Object.assign(machine.faults, { start: undefined, diesAfterStart: false, isFrozen: false });
  await clock.advance(120_000);
  expect(proxy.outage()).toBeUndefined();
});

test.each<[string, Partial<HaproxyMachine['faults']>, number]>([
  ['could not be started', { start: 'no memory' }, 20_000],
  ['hung and was replaced', { isFrozen: true }, 29_000],
])('after one outage a HAProxy that %s is up within two seconds after it serves again', async (_, faults, downMs) => {
  await using scene = await fail(faults);
  const { machine, proxy, clock } = scene;
  await clock.advance(downMs);
  expect(proxy.outage()).toMatch(/HAProxy|no memory/);
  Object.assign(machine.faults, { start: undefined });
  const { starts } = machine;
  while (machine.starts === starts) await clock.advance(100);
  Object.assign(machine.faults, { isFrozen: false });
  while (proxy.trouble() !== undefined) await clock.advance(100);
  await clock.advance(2_000);
  expect(proxy.outage()).toBeUndefined();
});

test('a HAProxy that is frozen when furiwake starts is an outage after changes that wait for it', async () => {
  const { machine, proxy, clock } = makeMachineRig();
  const { signal } = new AbortController();
  await proxy.upsert(table, signal);
  machine.faults.isFrozen = true;
  const next = makeMachineRig({ machine, clock });
  for (const _ of [1, 2]) {
    await expect(next.proxy.upsert(table, signal)).rejects.toThrow('neither commands nor requests');
    await clock.advance(6_000);
  }
  expect(next.proxy.outage()).toMatch(/^HAProxy answers neither commands nor requests/);
});

test('a HAProxy that is started again at once does not count as an outage', async () => {
  const { machine, proxy, clock } = makeMachineRig();
  const stop = new AbortController();
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  await proxy.upsert(table, stop.signal);
  await clock.advance(20_000);
  machine.die();
  await clock.advance(20_000);
  expect([proxy.outage(), machine.starts]).toEqual([undefined, 2]);
  stop.abort();
  await running;
});

test.each([
  ['answers requests keeps running', 'HTTP/1.0 200 OK\r\n\r\n', false],
  ['accepts requests and answers none is replaced', '', true],
])('a HAProxy that answers no command and %s', async (_, frozenAnswer, isReplaced) => {
  const { machine, proxy, clock } = makeMachineRig();
  const stop = new AbortController();
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  await proxy.upsert(table, stop.signal);
  await clock.advance(20_000);
  Object.assign(machine.faults, { isFrozen: true, frozenAnswer });
  await clock.advance(29_000);
  expect(machine.starts).toBe(1);
  await clock.advance(60_000);
  expect(machine.starts > 1).toBe(isReplaced);
  stop.abort();
  await running;
});

/** Only the process that runs now is frozen. */
function freeze(machine: HaproxyMachine): void {
  const pid = machine.held?.pid;
  Object.defineProperty(machine.faults, 'isFrozen', { get: () => machine.held?.pid === pid });
}

test('a HAProxy that is silent for 30 s is replaced, and the log does not say that it exited', async () => {
  const { machine, proxy, clock, log } = makeMachineRig();
  const stop = new AbortController();
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  await proxy.upsert(table, stop.signal);
  await clock.advance(20_000);
  freeze(machine);
  await clock.advance(28_000);
  expect(machine.starts).toBe(1);
  await clock.advance(10_000);
  expect(machine.starts).toBe(2);
  const errors = log.lines.filter(({ level }) => level === 'error').map(({ message }) => message);
  expect(errors).toEqual([
    'running HAProxy failed; retrying',
    'HAProxy did not answer for 30 s and was replaced; its connections were lost',
  ]);
  stop.abort();
  await running;
});

test('a HAProxy that answers a request in between is not replaced: its silence begins again', async () => {
  const { machine, proxy, clock } = makeMachineRig();
  const stop = new AbortController();
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  await proxy.upsert(table, stop.signal);
  await clock.advance(20_000);
  machine.faults.isFrozen = true;
  await clock.advance(20_000);
  machine.faults.frozenAnswer = 'HTTP/1.0 200 OK\r\n\r\n';
  await clock.advance(8_000);
  machine.faults.frozenAnswer = undefined;
  await clock.advance(20_000);
  expect(machine.starts).toBe(1);
  stop.abort();
  await running;
});

test.each<[string, Partial<HaproxyMachine['faults']>, string]>([
  ['cannot be started', { start: 'no memory' }, 'ProxyAbsentError'],
  ['exits at each first command', { diesAtCommand: true }, 'ProxyAbsentError'],
  ['does not answer after its start', { isFrozen: true }, 'ProxyDownError'],
  [
    'answers only requests after its start',
    { isFrozen: true, frozenAnswer: 'HTTP/1.0 200 OK\r\n\r\n' },
    'ProxyDownError',
  ],
  ['hangs from its first command on', { freezesAtCommand: true }, 'ProxyDownError'],
  [
    'answers only requests from its first command on',
    { freezesAtCommand: true, frozenAnswer: 'HTTP/1.0 200 OK\r\n\r\n' },
    'RuntimeError',
  ],
  ['closes each command', { breaksAtCommand: true }, 'RuntimeError'],
])('the error of a change says whether HAProxy takes connections: it %s', async (_, faults, name) => {
  const { machine, proxy, clock } = makeMachineRig();
  Object.assign(machine.faults, faults, { dying: () => clock.sleep(50, new AbortController().signal) });
  const change = proxy.upsert(table, new AbortController().signal).catch((error: unknown) => error);
  await clock.advance(12_000);
  expect(await change).toMatchObject({ name });
});

test('a HAProxy that hangs and survives SIGKILL takes no connections', async () => {
  const machine = makeHaproxyMachine('/run/furiwake/net-1/haproxy');
  const { proxy, clock } = makeMachineRig({ machine: { ...machine, kill: () => true } });
  const { signal } = new AbortController();
  await proxy.upsert(table, signal);
  const other = tableOf([listener('192.0.2.52', 80, 30_080)], nodes);
  machine.faults.isFrozen = true;
  const errors: unknown[] = [];
  for (let time = 0; time < 10; time++) {
    const change = proxy.upsert(other, signal).catch((error: unknown) => errors.push(error));
    await clock.advance(20_000);
    await change;
  }
  expect(String(errors.at(-1))).toMatch('survives SIGKILL');
  for (const error of errors) expect(error).toMatchObject({ name: 'ProxyDownError' });
});

test('a HAProxy that hangs again after it has answered has its whole time to answer', async () => {
  await using scene = await fail({ isFrozen: true });
  const { machine, proxy, clock } = scene;
  const { starts } = machine;
  await clock.advance(20_000);
  machine.faults.isFrozen = false;
  await clock.advance(20_000);
  expect(proxy.trouble()).toBeUndefined();
  machine.faults.isFrozen = true;
  await clock.advance(20_000);
  expect([proxy.trouble(), machine.starts]).toEqual([expect.stringContaining('answers neither'), starts]);
  machine.faults.isFrozen = false;
  await clock.advance(20_000);
  machine.faults.breaksAtCommand = true;
  const { signal } = new AbortController();
  const other = tableOf([listener('192.0.2.52', 80, 30_080)], nodes);
  await expect(proxy.upsert(other, signal)).rejects.toMatchObject({ name: 'RuntimeError' });
});
