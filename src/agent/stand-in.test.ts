import { describe, expect, test } from 'vitest';
import { answer, listener, publish, type RunningAgent, startAgent } from '../../test/make/agent-rig.ts';
import type { Listener } from '../core/traffic/table.ts';

/*
 * Listeners of direct for which HAProxy stands in, while HAProxy cannot be changed.
 */
const direct = (port: number, more: Partial<Listener> = {}): Listener =>
  listener('192.0.2.51', port, 'web', { dataplane: 'direct', standIn: 'haproxy', isPublished: true, ...more });
const web = direct(80);

const reportOf = ({ agent }: RunningAgent, { key }: Listener) => agent.report().listeners.get(key);
/** What stands in for the listener, in each part of the host that has it. */
const standInsOf = ({ ports: { held } }: RunningAgent, { key }: Listener) => ({
  direct: held.direct.get(key)?.standIn,
  steering: held.steering.listeners.get(key)?.standIn,
});

describe.each(['fails', 'hangs'] as const)('while HAProxy %s', (how) => {
  /** Returns how it ends. */
  const begin = ({ ports }: RunningAgent): (() => void) => {
    if (how === 'fails') ports.failing.set('proxy.upsert', 'no');
    const { promise, resolve } = Promise.withResolvers<void>();
    if (how === 'hangs') ports.hanging.set('proxy.upsert', promise);
    return () => {
      ports.failing.clear();
      ports.hanging.clear();
      resolve();
    };
  };
  const words = how === 'fails' ? 'no' : 'HAProxy has not answered yet';

  test('a new listener is in force within a second, without its stand-in; it has one when HAProxy can be changed', async () => {
    const rig = startAgent();
    await publish(rig);
    const end = begin(rig);
    await publish(rig, web);
    await rig.clock.advance(1_000);
    expect([answer(rig, web), reportOf(rig, web)?.holder]).toEqual(['ready', 'default/web']);
    expect(standInsOf(rig, web)).toEqual({ direct: undefined, steering: undefined });
    expect(reportOf(rig, web)?.standInTrouble).toBe(words);
    expect(rig.ports.held.placed.has('192.0.2.51')).toBe(true);
    await rig.clock.advance(10 * 60_000);
    expect([answer(rig, web), standInsOf(rig, web).direct]).toEqual(['ready', undefined]);
    end();
    await rig.clock.advance(30_000);
    expect([answer(rig, web), reportOf(rig, web)?.standInTrouble]).toEqual(['ready', undefined]);
    expect(standInsOf(rig, web)).toEqual({ direct: 'haproxy', steering: 'haproxy' });
    expect(rig.ports.held.proxy.has(web.key)).toBe(true);
    expect(rig.agent.troubles()).toEqual([]);
  });

  test('a new listener can be changed and removed', async () => {
    const rig = startAgent();
    await publish(rig);
    begin(rig);
    await publish(rig, web);
    await rig.clock.advance(10_000);
    const closed = direct(80, { sourceRanges: [] });
    await publish(rig, closed);
    expect([answer(rig, closed), rig.ports.held.direct.get(web.key)?.sourceRanges]).toEqual(['ready', []]);
    await publish(rig);
    expect([answer(rig, web), rig.ports.held.direct.size]).toEqual(['nothing', 0]);
    expect(rig.ports.steps).toContain('end 80');
  });

  test('a listener that HAProxy serves moves to direct, or gets other nodes, and HAProxy stands in as it served it', async () => {
    const rig = startAgent();
    const served = listener('192.0.2.51', 80, 'web');
    await publish(rig, served);
    const end = begin(rig);
    const moved = direct(80, { targetPort: 31_000 });
    await publish(rig, moved);
    await rig.clock.advance(1_000);
    expect([answer(rig, moved), reportOf(rig, moved)?.standInTrouble]).toEqual(['ready', undefined]);
    expect(standInsOf(rig, moved)).toEqual({ direct: 'haproxy', steering: 'haproxy' });
    expect(rig.ports.held.proxy.get(web.key)?.targetPort).toBe(served.targetPort);
    await rig.clock.advance(10 * 60_000);
    expect(rig.log.lines.filter(({ message }) => message.startsWith('external change'))).toEqual([]);
    end();
    await rig.clock.advance(30_000);
    expect(rig.ports.held.proxy.get(web.key)?.targetPort).toBe(31_000);
  });

  test('a listener that returns to HAProxy waits, and stays with direct', async () => {
    const rig = startAgent();
    await publish(rig);
    const end = begin(rig);
    await publish(rig, web);
    await rig.clock.advance(1_000);
    const plain = listener('192.0.2.51', 80, 'web');
    await publish(rig, plain);
    await rig.clock.advance(1_000);
    expect([answer(rig, plain) === 'ready', rig.ports.held.direct.has(web.key)]).toEqual([false, true]);
    end();
    await rig.clock.advance(30_000);
    expect([answer(rig, plain), rig.ports.held.direct.has(web.key)]).toEqual(['ready', false]);
  });
});

test('a new listener for which HAProxy refuses to stand in is in force without it; HAProxy is asked again after growing waits', async () => {
  const rig = startAgent();
  let attempts = 0;
  rig.ports.refuses.proxy = ({ key }) => {
    if (key !== web.key) return undefined;
    attempts++;
    return 'waits for a reload';
  };
  await publish(rig, web, direct(81));
  await rig.clock.advance(0);
  expect([answer(rig, web), standInsOf(rig, web).direct]).toEqual(['ready', undefined]);
  expect(reportOf(rig, web)?.standInTrouble).toBe('waits for a reload');
  expect(standInsOf(rig, direct(81)).direct).toBe('haproxy');
  attempts = 0;
  await rig.clock.advance(10 * 60_000);
  expect([attempts > 5, attempts < 40]).toEqual([true, true]);
  expect(rig.log.lines.filter(({ message }) => message !== 'programming a listener failed; retrying')).toEqual([]);
  rig.ports.refuses.proxy = () => undefined;
  await rig.clock.advance(60_000);
  expect([answer(rig, web), standInsOf(rig, web).direct]).toEqual(['ready', 'haproxy']);
  expect(reportOf(rig, web)?.standInTrouble).toBeUndefined();
});

test('a listener that direct cannot serve either is not in force', async () => {
  const rig = startAgent();
  await publish(rig);
  rig.ports.failing.set('proxy.upsert', 'HAProxy: no');
  rig.ports.failing.set('direct.apply', 'nft: no');
  await publish(rig, web);
  expect([answer(rig, web), rig.ports.held.direct.has(web.key)]).toEqual(['nft: no', false]);
  expect(rig.agent.troubles()).toEqual(['HAProxy: no', 'nft: no']);
  rig.ports.failing.delete('direct.apply');
  await rig.clock.advance(200);
  expect([answer(rig, web), rig.agent.troubles()]).toEqual(['ready', ['HAProxy: no']]);
});

test('a listener that HAProxy refuses and that depends on a failed step is tried again with that step', async () => {
  const rig = startAgent();
  await publish(rig);
  rig.ports.refuses.proxy = ({ key }) => (key === web.key ? 'HAProxy: no' : undefined);
  rig.ports.failing.set('direct.apply', 'nft: no');
  await publish(rig, web);
  expect(answer(rig, web)).toBe('nft: no');
  rig.ports.failing.clear();
  await rig.clock.advance(200);
  expect([answer(rig, web), reportOf(rig, web)?.standInTrouble]).toEqual(['ready', 'HAProxy: no']);
});

test('a listener of direct that nat cannot stand in for says so', async () => {
  const rig = startAgent();
  await publish(rig);
  rig.ports.failing.set('nat.apply', 'forwarding on: Read-only file system');
  const [dns, syslog] = (['direct', 'nat'] as const).map((dataplane, index) =>
    listener('192.0.2.51', 53 + index, 'dns', { protocol: 'UDP', dataplane, ...(index === 0 && { standIn: 'nat' }) }),
  ) as [Listener, Listener];
  await publish(rig, dns, syslog);
  const messages = [dns, syslog].map((each) => reportOf(rig, each)?.refusal?.verdict.message);
  const words = 'forwarding on: Read-only file system';
  expect(messages).toEqual([`nat cannot stand in for direct: ${words}`, words]);
});

test('a listener that moves from nat to direct, and that HAProxy stands in for, does not say that nat stands in', async () => {
  const rig = startAgent();
  await publish(rig, listener('192.0.2.51', 53, 'dns', { protocol: 'TCP', dataplane: 'nat' }));
  rig.ports.failing.set('nat.apply', 'no');
  const moved = listener('192.0.2.51', 53, 'dns', { protocol: 'TCP', dataplane: 'direct', standIn: 'haproxy' });
  await publish(rig, moved);
  expect(reportOf(rig, moved)?.refusal?.verdict.message).toBe('no');
});
