import { describe, expect, test } from 'vitest';
import { startFaultyHost } from '../../test/make/faulty-host.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { answer, listener, publish, type RunningAgent, startAgent, table } from '../../test/make/agent-rig.ts';
import type { Listener } from '../core/traffic/table.ts';

const a = listener('192.0.2.51', 80, 'a');
const b = listener('192.0.2.51', 443, 'b');
const c = listener('192.0.2.52', 80, 'c');

const holderOf = ({ agent }: Pick<RunningAgent, 'agent'>, wanted: Listener): unknown =>
  agent.report().listeners.get(wanted.key)?.holder;

describe('what one tool refuses', () => {
  test.each(['proxy', 'steering'] as const)('of one listener (%s) stays with it', async (tool) => {
    const rig = startAgent();
    await publish(rig, a);
    rig.ports.refuses[tool] = ({ key }) => (key === b.key ? `${tool}: no` : undefined);
    await publish(rig, a, b, c);
    expect([answer(rig, a), answer(rig, b), answer(rig, c)]).toEqual(['ready', `${tool}: no`, 'ready']);
    expect([...rig.ports.held.steering.listeners.keys()].toSorted()).toEqual([a.key, c.key].toSorted());
    expect(holderOf(rig, b)).toBeUndefined();
  });

  test('of a change to a listener leaves it as it was', async () => {
    const rig = startAgent();
    await publish(rig, a);
    const restricted = listener('192.0.2.51', 80, 'a', { sourceRanges: [] });
    rig.ports.refuses.steering = ({ revision }) => (revision === restricted.revision ? 'nft: no' : undefined);
    await publish(rig, restricted);
    expect(answer(rig, restricted)).toBe('nft: no');
    expect(rig.ports.held.steering.listeners.get(a.key)?.revision).toBe(a.revision);
    expect(rig.agent.report().listeners.get(a.key)?.revision).toBe(a.revision);
  });

  test('is tried again after growing waits, and delays no other change', async () => {
    const rig = startAgent();
    let attempts = 0;
    rig.ports.refuses.steering = ({ key }) => {
      if (key !== b.key) return undefined;
      attempts++;
      return 'nft: no';
    };
    await publish(rig, b);
    await rig.clock.advance(10 * 60_000);
    expect(attempts).toBeGreaterThan(5);
    expect(attempts).toBeLessThan(20);
    const before = attempts;
    for (let port = 1000; port < 1100; port++) await publish(rig, b, listener('192.0.2.60', port, `s${port}`));
    expect(attempts - before).toBeLessThan(3);
    rig.ports.refuses.steering = () => undefined;
    await rig.clock.advance(60_000);
    expect(answer(rig, b)).toBe('ready');
  });

  test('is forgotten when the listener changes or goes', async () => {
    const rig = startAgent();
    rig.ports.refuses.proxy = ({ revision }) => (revision === b.revision ? 'no' : undefined);
    await publish(rig, b);
    const changed = listener('192.0.2.51', 443, 'b', { sourceRanges: [] });
    await publish(rig, changed);
    expect(answer(rig, changed)).toBe('ready');
    await publish(rig, b);
    expect(rig.log.failures.size).toBe(1);
    await publish(rig);
    expect([rig.agent.report().listeners.size, rig.log.failures.size]).toEqual([0, 0]);
  });

  test('is said again at growing intervals, and when it is over', async () => {
    const rig = startAgent();
    rig.ports.refuses.proxy = () => 'no';
    await publish(rig, a);
    await rig.clock.advance(60 * 60_000);
    expect(rig.log.lines.length).toBeGreaterThan(3);
    expect(rig.log.lines.length).toBeLessThan(10);
    rig.ports.refuses.proxy = () => undefined;
    await rig.clock.advance(60_000);
    expect(rig.log.lines.at(-1)?.message).toBe('programming a listener works again');
  });

  test('to be removed stays held, and is tried again after growing waits', async () => {
    const rig = startAgent();
    await publish(rig, a, b);
    let attempts = 0;
    rig.ports.refuses.removal = () => {
      attempts++;
      return 'nft: no';
    };
    await publish(rig, a);
    await rig.clock.advance(10 * 60_000);
    expect([attempts > 5, attempts < 40]).toEqual([true, true]);
    expect(holderOf(rig, b)).toBe('default/b');
    await publish(rig, a, c);
    expect(answer(rig, c)).toBe('ready');
    rig.ports.refuses.removal = () => undefined;
    await rig.clock.advance(60_000);
    expect([holderOf(rig, b), answer(rig, b)]).toEqual([undefined, 'nothing']);
    expect(rig.ports.steps).toContain('end 443');
  });

  test('an address that the kernel refuses is said on its Services, until the kernel takes it', async () => {
    const rig = startAgent();
    rig.ports.setRefused(new Map([['192.0.2.52', 'furiwake0: no']]));
    await publish(rig, a, c);
    rig.ports.tellNetwork('addresses');
    await rig.clock.advance(500);
    expect(answer(rig, a)).toBe('ready');
    expect(answer(rig, c)).toBe('the kernel refused the address 192.0.2.52 (furiwake0: no)');
    rig.ports.setRefused(new Map());
    rig.ports.tellNetwork('addresses');
    await rig.clock.advance(500);
    expect(answer(rig, c)).toBe('ready');
  });
});

test('a refusal is reported while the listener is tried again', async () => {
  const rig = startAgent();
  rig.ports.refuses.proxy = ({ key }) => (key === a.key ? 'no' : undefined);
  await publish(rig, a, b);
  const { promise, resolve } = Promise.withResolvers<void>();
  rig.ports.hanging.set('proxy.upsert', promise);
  for (const ms of [1_000, 500, 60_000]) {
    await rig.clock.advance(ms);
    expect(answer(rig, a)).toBe('no');
  }
  rig.ports.refuses.proxy = () => undefined;
  rig.ports.hanging.clear();
  resolve();
  await rig.clock.advance(60_000);
  expect(answer(rig, a)).toBe('ready');
});

test('a refusal is reported while nothing can be steered yet; its Service holds nothing then', async () => {
  const rig = startAgent();
  rig.ports.refuses.proxy = ({ key }) => (key === a.key ? 'no' : undefined);
  rig.ports.failing.set('steering.apply', 'nft: no');
  await publish(rig, a, b);
  for (const ms of [0, 300]) {
    await rig.clock.advance(ms);
    expect([answer(rig, a), answer(rig, b)]).toEqual(['no', 'nft: no']);
  }
  rig.ports.failing.clear();
  await rig.clock.advance(400);
  expect([answer(rig, a), answer(rig, b), holderOf(rig, a)]).toEqual(['no', 'ready', undefined]);
});

test('an address that was removed with its listener still in force does not count as one of the host', async () => {
  const clock = virtualClock();
  const host = startFaultyHost(clock);
  const [leaving, other] = [80, 81].map((port) =>
    listener(`192.0.2.${port}`, port, `udp-${port}`, { protocol: 'UDP', dataplane: 'nat' }),
  ) as [Listener, Listener];
  host.publish([leaving]);
  await clock.advance(1_000);
  host.fault('nat.apply', 'fails');
  host.publish([leaving, other]);
  await clock.advance(20_000); // until nat is tried again no pass removes its listeners
  host.publish([]);
  await clock.advance(10);
  host.fault('placement.add', 'fails');
  const next = listener('192.0.2.80', 443, 'tcp');
  host.publish([next]);
  for (let second = 0; second < 60; second++) {
    await clock.advance(1_000);
    expect(host.violations()).toEqual([]);
  }
  expect(answer(host.rig, next)).not.toBe('ready');
  await host.stop();
});

test('a listener that nat still has, but whose address was removed, is not in force when it is wanted again', async () => {
  const rig = startAgent();
  const [leaving, other] = [80, 81].map((port) =>
    listener(`192.0.2.${port}`, port, `udp-${port}`, { protocol: 'UDP', dataplane: 'nat' }),
  ) as [Listener, Listener];
  await publish(rig, leaving);
  rig.ports.failing.set('nat.apply', 'nft: no');
  await publish(rig, leaving, other);
  await rig.clock.advance(20_000); // until nat is tried again no pass removes its listeners
  await publish(rig);
  expect([rig.ports.held.placed.size, rig.ports.held.nat.has(leaving.key)]).toEqual([0, true]);
  rig.agent.publish(table(leaving));
  expect(answer(rig, leaving)).not.toBe('ready'); // no pass has added the address
});

test.each([
  ['deleted', false],
  ['rolled back, then deleted', true],
])(
  'a Service that was %s while HAProxy does not change keeps its listener until its connections are ended',
  async (_, isRolledBack) => {
    const clock = virtualClock();
    const host = startFaultyHost(clock);
    host.publish([c]);
    await clock.advance(1_000);
    host.fault('proxy.upsert', 'fails');
    host.fault('proxy.prune', 'fails');
    host.publish([]);
    await clock.advance(1_000);
    if (isRolledBack) {
      host.publish([c]);
      await clock.advance(1_000);
      host.publish([]);
      await clock.advance(1_000);
    }
    expect(holderOf(host.rig, c)).toBe(c.service);
    await host.recover();
    expect(holderOf(host.rig, c)).toBeUndefined();
    expect(host.rig.ports.steps.filter((each) => each.startsWith('end '))).toEqual(['end 80']);
    await host.stop();
  },
);

test('a change that fails while HAProxy serves nothing is an outage, and not a refusal of the listener', async () => {
  const rig = startAgent();
  rig.ports.failing.set('proxy.upsert', 'no answer');
  await publish(rig, a);
  await rig.clock.advance(1_000);
  const verdict = (): unknown => rig.agent.report().listeners.get(a.key)?.refusal?.verdict;
  expect(verdict()).toEqual({ reason: 'HaproxyUnchanged', message: 'no answer' });
  rig.ports.setOutage('HAProxy hangs');
  expect(verdict()).toEqual({ reason: 'HaproxyDown', message: 'HAProxy does not serve: HAProxy hangs' });
  rig.ports.setOutage(undefined);
  expect(verdict()).toEqual({ reason: 'HaproxyUnchanged', message: 'no answer' });
});
