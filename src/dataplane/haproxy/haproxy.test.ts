import { expect, test } from 'vitest';
import { connectionsBy } from '../../../test/make/connections.ts';
import { type HaproxyMachine, makeHaproxyMachine } from '../../../test/make/haproxy-machine.ts';
import { makeMachineRig, serve } from '../../../test/make/haproxy-rig.ts';
import { listener, node, tableOf } from '../../../test/make/table.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import type { CheckAnswer } from '../../ports/health.ts';
import { RuntimeError, type Sockets } from './runtime/client.ts';

const nodes = [node('n1', '192.0.2.11')];
const table = tableOf([listener('192.0.2.51', 80, 30_080)], nodes);
const changed = tableOf([listener('192.0.2.51', 80, 30_081), listener('192.0.2.52', 80, 30_080)], nodes);

const kinds: readonly (readonly [string, Partial<HaproxyMachine['faults']>])[] = [
  ['exits at the first command', { diesAtCommand: true }],
  ['answers only show info', { breaksAtCommand: true }],
  ['exits right after each start', { diesAfterStart: true }],
  ['cannot be started', { start: 'cannot bind socket' }],
  ['cannot have its port because of another program', { portHolder: 'perl' }],
  ['is frozen', { isFrozen: true }],
];

test.each([
  ...kinds,
  ...kinds.map(([name, faults]) => [`${name} while the disk is full`, { ...faults, isDiskFull: true }] as const),
])('a HAProxy that %s is retried and reported at growing intervals, and serves afterwards', async (_, faults) => {
  const rig = makeMachineRig();
  const { machine, proxy, clock, log } = rig;
  const healthy = { ...machine.faults };
  const stop = new AbortController();
  let wanted = table;
  const parts = Promise.allSettled([proxy.run(stop.signal), serve(rig, () => wanted, stop.signal)]);
  await clock.advance(20_000);
  expect([...(machine.held?.map.keys() ?? [])]).toEqual(['192.0.2.51|80']);

  const told: (string | undefined)[] = [];
  proxy.onTrouble(() => told.push(proxy.trouble()));
  Object.assign(machine.faults, faults);
  wanted = changed;
  if (faults.isFrozen !== true) machine.die();
  const minutes: { readonly starts: number; readonly lines: number }[] = [];
  for (let minute = 0; minute < 10; minute++) {
    const before = { starts: machine.starts, lines: log.lines.length };
    await clock.advance(60_000);
    minutes.push({ starts: machine.starts - before.starts, lines: log.lines.length - before.lines });
  }
  expect(proxy.trouble()).toMatch(/^.+$/);
  expect(told.at(-1)).toBe(proxy.trouble());
  expect(minutes[0]?.starts).toBeLessThanOrEqual(12);
  for (const { starts } of minutes.slice(1)) expect(starts).toBeLessThanOrEqual(7);
  for (const { lines } of minutes) expect(lines).toBeLessThanOrEqual(6);
  expect(minutes.reduce((sum, { lines }) => sum + lines, 0)).toBeLessThanOrEqual(24);

  Object.assign(machine.faults, healthy);
  await clock.advance(60_000);
  expect([proxy.trouble(), told.at(-1)]).toEqual([undefined, undefined]);
  expect(machine.held?.map.get('192.0.2.51|80')).toContain('|30081|');
  expect(machine.held?.map.size).toBe(2);
  const { length } = log.lines;
  await clock.advance(600_000);
  const messages = log.lines.slice(length).map(({ message }) => message);
  expect(messages.filter((each) => !/HAProxy (?:running )?works again$/.test(each))).toEqual([]);
  stop.abort();
  await parts;
});

test('a HAProxy that serves and never answers for its nodes is reported, once in a while, and when it answers again', async () => {
  const machine = makeHaproxyMachine('/run/furiwake/net-1/haproxy');
  let isSlow = false;
  const request: Sockets['request'] = async (path, text, signal) => {
    if (isSlow && text.includes('show stat nodes')) throw new RuntimeError('silent', 'no answer within 3 s');
    return await machine.sockets.request(path, text, signal);
  };
  const { proxy, clock, log } = makeMachineRig({
    machine: { ...machine, sockets: { ...machine.sockets, request, connect: connectionsBy(request) } },
  });
  const stop = new AbortController();
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  await proxy.upsert(table, stop.signal);
  await clock.advance(10_000);
  const told = (): readonly string[] => log.lines.flatMap(({ message }) => /^checking nodes .*/.exec(message) ?? []);
  isSlow = true;
  await clock.advance(30_000);
  expect(told()).toEqual(['checking nodes failed; retrying']);
  isSlow = false;
  await clock.advance(10_000);
  expect(told()).toEqual(['checking nodes failed; retrying', 'checking nodes works again']);
  stop.abort();
  await running;
});

test('a map file that cannot be written is tried again after growing waits', async () => {
  const machine = makeHaproxyMachine('/run/furiwake/net-1/haproxy');
  let attempts = 0;
  const write: HaproxyMachine['files']['write'] = async (path, text) => {
    if (path.endsWith('.map')) attempts++;
    await machine.files.write(path, text);
  };
  const { proxy, clock } = makeMachineRig({ machine: { ...machine, files: { ...machine.files, write } } });
  const stop = new AbortController();
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  await proxy.upsert(table, stop.signal);
  await clock.advance(10_000);
  machine.faults.isDiskFull = true;
  await proxy.upsert(changed, stop.signal);
  attempts = 0;
  await clock.advance(10 * 60_000);
  expect(attempts).toBeLessThan(20);
  machine.faults.isDiskFull = false;
  await clock.advance(60_000);
  expect(machine.texts.get('/run/furiwake/net-1/haproxy/services.map')).toContain('192.0.2.52|80');
  stop.abort();
  await running;
});

test('a silent node is taken out of use though HAProxy refuses a listener at that moment', async () => {
  const answers = new Map<string, CheckAnswer>();
  const { machine, proxy, clock } = makeMachineRig({ probed: (address) => answers.get(address) ?? 'alive' });
  const stop = new AbortController();
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  const two = [...nodes, node('n2', '192.0.2.12')];
  await proxy.upsert(tableOf([], two), stop.signal);
  await clock.advance(3000);
  answers.set('192.0.2.12', 'silent');
  await clock.advance(1000);
  machine.faults.isFrozen = true;
  await expect(proxy.upsert(tableOf([...changed.listeners.values()], two), stop.signal)).rejects.toMatchObject({
    code: 'PROXY_DOWN',
  });
  machine.faults.isFrozen = false;
  const asked: string[] = [];
  machine.faults.command = (command) => {
    asked.push(command);
    return command.includes('192.0.2.52|80') ? 'Out of memory.' : undefined;
  };
  await clock.advance(1000);
  expect(asked).toContain('set server nodes4/n2 health down');
  stop.abort();
  await running;
});

test.each([10_000, 10_400, 10_800, 11_200])(
  'while the own probe decides, a node that is silent from %i ms on is out of use after three seconds',
  async (fromMs) => {
    const clock = virtualClock();
    const { machine, proxy } = makeMachineRig({
      clock,
      probed: (address) => (address === '192.0.2.12' && clock.monotonic() >= fromMs ? 'silent' : 'alive'),
      probeMs: 500,
    });
    const stop = new AbortController();
    const running = Promise.allSettled([proxy.run(stop.signal)]);
    await clock.drive(proxy.upsert(tableOf([], [...nodes, node('n2', '192.0.2.12')]), stop.signal));
    let downMs: number | undefined;
    machine.faults.command = (command) => {
      if (command === 'set server nodes4/n2 health down') downMs = clock.monotonic();
      return undefined;
    };
    await clock.advance(20_000);
    expect(downMs).toBeGreaterThan(fromMs);
    expect(downMs).toBeLessThanOrEqual(fromMs + 3000);
    stop.abort();
    await running;
  },
);

test('before the first table and after a stop no HAProxy is started, and no request is repeated', async () => {
  const machine = makeHaproxyMachine('/run/furiwake/net-1/haproxy');
  let asked = 0;
  const untilClosed: Sockets['untilClosed'] = (...args) => {
    asked++;
    return machine.sockets.untilClosed(...args);
  };
  const sockets = { ...machine.sockets, untilClosed };
  const { proxy, clock, log } = makeMachineRig({ machine: { ...machine, sockets } });
  const stop = new AbortController();
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  await clock.advance(60_000);
  expect({ starts: machine.starts, lines: log.lines, trouble: proxy.trouble() }).toEqual({
    starts: 0,
    lines: [],
    trouble: undefined,
  });
  expect(asked).toBeLessThanOrEqual(2);

  await proxy.upsert(table, stop.signal);
  await clock.advance(60_000);
  await proxy.stop(stop.signal);
  asked = 0;
  await clock.advance(60_000);
  expect({ starts: machine.starts, held: machine.held, trouble: proxy.trouble() }).toEqual({
    starts: 1,
    held: undefined,
    trouble: undefined,
  });
  expect(asked).toBeLessThanOrEqual(2);

  await proxy.upsert(table, stop.signal);
  await clock.advance(60_000);
  machine.die();
  await clock.advance(0);
  expect(machine.held?.map.size).toBe(1); // watched as before
  stop.abort();
  await running;
});

test('furiwake_haproxy_up falls when HAProxy cannot be started again, and rises when it can', async () => {
  const { machine, proxy, clock, metrics } = makeMachineRig();
  const isUp = (): number | undefined => metrics.gaugeOf('furiwake_haproxy_up');
  const stop = new AbortController();
  expect(isUp()).toBe(0);
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  await proxy.upsert(table, stop.signal);
  await clock.advance(1000);
  expect(isUp()).toBe(1);

  machine.faults.start = 'cannot bind socket';
  machine.die();
  await clock.advance(1000);
  expect(isUp()).toBe(0);
  expect(proxy.trouble()).toContain('cannot bind socket');

  machine.faults.start = undefined;
  await clock.advance(10_000);
  expect(isUp()).toBe(1);
  expect(proxy.trouble()).toBeUndefined();
  stop.abort();
  await running;
});

test('a HAProxy of an earlier furiwake is taken over with its health checks enabled or disabled, as they are', async () => {
  const { signal } = new AbortController();
  const first = makeMachineRig({ probed: 'alive' }); // no node answers the health port
  await first.proxy.upsert(table, signal);
  const second = makeMachineRig({ machine: first.machine, probed: 'ok' });
  await second.proxy.upsert(table, signal);
  expect(second.health.families[4].isChecked()).toBe(false); // until nodes have answered for ten seconds
  expect(first.machine.starts).toBe(1);
  expect(second.log.lines.map(({ message }) => message)).toContain(
    'took over the running HAProxy; connections preserved',
  );
});

test('without an account the workers run as root, with a warning', () => {
  const { log } = makeMachineRig({ hasAccount: false });
  expect(log.lines).toMatchObject([{ level: 'warn', message: expect.stringContaining('run as root') }]);
  expect(makeMachineRig().log.lines).toEqual([]);
});

test('when it ends no connection is open, which would keep the process from its end', async () => {
  const machine = makeHaproxyMachine('/run/furiwake/net-1/haproxy');
  const open = new Set<unknown>();
  const connect: Sockets['connect'] = (path) => {
    const connection = machine.sockets.connect(path);
    open.add(connection);
    return { ...connection, close: () => void open.delete(connection) };
  };
  const { proxy, clock } = makeMachineRig({ machine: { ...machine, sockets: { ...machine.sockets, connect } } });
  const stop = new AbortController();
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  await proxy.upsert(table, stop.signal);
  await clock.advance(25_000);
  expect(open.size).toBe(1);
  stop.abort();
  await running;
  expect(open.size).toBe(0);
});
