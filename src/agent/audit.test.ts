import { describe, expect, test, vi } from 'vitest';
import { answer, listener, publish, type RunningAgent, startAgent } from '../../test/make/agent-rig.ts';

const a = listener('192.0.2.51', 80, 'a');
const b = listener('192.0.2.51', 443, 'b');
const c = listener('192.0.2.52', 80, 'c');

describe('the audit', () => {
  test('repairs every part though another part fails', async () => {
    const rig = startAgent();
    await publish(rig, a, c);
    rig.ports.failing.set('proxy.audit', 'HAProxy does not answer');
    rig.ports.held.placed.delete('192.0.2.52');
    await rig.clock.advance(30_000);
    expect(rig.ports.steps).toContain('steering.audit');
    expect(rig.ports.held.placed.has('192.0.2.52')).toBe(true);
  });

  test('continues while a listener is refused', async () => {
    const rig = startAgent();
    rig.ports.refuses.proxy = ({ key }) => (key === b.key ? 'no' : undefined);
    await publish(rig, a, b);
    rig.ports.held.proxy = rig.ports.held.proxy.with([[a.key, undefined]]);
    await rig.clock.advance(30_000);
    expect(rig.ports.held.proxy.has(a.key)).toBe(true);
  });

  test('does not take what a failing step leaves behind for an external change', async () => {
    const rig = startAgent();
    await publish(rig, a, c);
    rig.ports.failing.set('steering.apply', 'no');
    await publish(rig, a);
    await rig.clock.advance(10 * 60_000);
    expect([...rig.ports.held.placed.keys()]).toEqual(['192.0.2.51']);
    rig.ports.failing.clear();
    rig.ports.failing.set('proxy.prune', 'no');
    rig.ports.refuses.steering = ({ key }) => (key === b.key ? 'no' : undefined);
    await publish(rig, a, b);
    await rig.clock.advance(10 * 60_000);
    expect(rig.log.lines.filter(({ message }) => message.startsWith('external change'))).toEqual([]);
    rig.ports.failing.clear();
    await rig.clock.advance(60_000);
    expect([...rig.ports.held.proxy.keys()]).toEqual([a.key]);
  });

  test('restores an address as soon as the kernel reports that it was removed', async () => {
    const rig = startAgent();
    await publish(rig, a);
    rig.ports.held.placed.clear();
    rig.ports.tellNetwork('addresses');
    await rig.clock.advance(500);
    expect([...rig.ports.held.placed.keys()]).toEqual(['192.0.2.51']);
  });

  test('reports to the steering that links changed', async () => {
    const rig = startAgent();
    await publish(rig, a);
    const told = vi.spyOn(rig.ports.steering, 'noteFacts');
    rig.ports.tellNetwork('addresses');
    await rig.clock.advance(500);
    expect(told).toHaveBeenCalledTimes(1);
  });

  test('restores an address that another program removes again and again at growing intervals', async () => {
    const rig = startAgent();
    await publish(rig, a);
    let removals = 0;
    for (let tenth = 0; tenth < 6000; tenth++) {
      if (rig.ports.held.placed.delete('192.0.2.51')) removals++;
      rig.ports.tellNetwork('addresses');
      await rig.clock.advance(100);
    }
    expect(removals).toBeGreaterThan(100);
    expect(removals).toBeLessThan(140); // each five seconds
    expect(rig.log.lines.filter(({ message }) => message.startsWith('external change')).length).toBeLessThan(9);
  });

  test('reads addresses back at most twice a second, however much the kernel reports', async () => {
    const rig = startAgent();
    await publish(rig, a);
    rig.ports.steps.length = 0;
    for (let count = 0; count < 100; count++) {
      rig.ports.tellNetwork('addresses');
      await rig.clock.advance(20);
    }
    expect(rig.ports.steps.filter((step) => step === 'placement.audit').length).toBeLessThanOrEqual(5);
    expect(rig.ports.steps.filter((step) => step === 'placement.audit').length).toBeGreaterThanOrEqual(4);
  });

  test('reads addresses back for at most a tenth of the time, when that takes long', async () => {
    const rig = startAgent();
    await publish(rig, a);
    const slow = Promise.withResolvers<void>();
    rig.ports.hanging.set('placement.audit', slow.promise);
    rig.ports.tellNetwork('addresses');
    await rig.clock.advance(2_000);
    rig.ports.hanging.clear();
    slow.resolve();
    await rig.clock.advance(0);
    rig.ports.steps.length = 0;
    const audits = async (ms: number): Promise<number> => {
      for (let passedMs = 0; passedMs < ms; passedMs += 100) {
        rig.ports.tellNetwork('addresses');
        await rig.clock.advance(100);
      }
      return rig.ports.steps.filter((step) => step === 'placement.audit').length;
    };
    expect(await audits(12_000)).toBe(0);
    expect(await audits(8_000)).toBeGreaterThan(0);
  });
});

describe('between two audits', () => {
  const parts = ['proxy', 'steering', 'direct', 'nat', 'placement'] as const;
  const count = (rig: RunningAgent, how: 'audit' | 'check'): readonly number[] =>
    parts.map((part) => rig.ports.steps.filter((step) => step === `${part}.${how}`).length);

  /** An agent whose audits use so much processor time. */
  async function startBusy(auditMs: number): Promise<RunningAgent> {
    const rig = startAgent();
    await publish(rig, a, c);
    await rig.clock.advance(1_000); // the first news of the kernel
    rig.ports.hanging.get = (step) => {
      if (step.endsWith('.audit')) rig.clock.work(auditMs);
      return undefined;
    };
    await rig.clock.advance(91_000); // the three audits that are measured
    rig.ports.steps.length = 0;
    return rig;
  }

  test('a small site is audited every 30 s', async () => {
    const rig = await startBusy(30);
    await rig.clock.advance(10 * 30_000);
    expect([count(rig, 'audit'), count(rig, 'check')]).toEqual([parts.map(() => 10), parts.map(() => 0)]);
  });

  test('each part is checked every 30 s, and audited for a five-thousandth of the time', async () => {
    const rig = await startBusy(300);
    await rig.clock.advance(60 * 60_000);
    for (const audits of count(rig, 'audit')) expect([audits, audits >= 2 && audits <= 3]).toEqual([audits, true]);
    for (const checks of count(rig, 'check')) expect([checks, checks >= 115 && checks <= 118]).toEqual([checks, true]);
  });

  test('a change that the kernel reports is audited at once, and one that a check finds is reported', async () => {
    const rig = await startBusy(3_000);
    rig.ports.held.placed.delete('192.0.2.52');
    rig.ports.tellNetwork('addresses');
    await rig.clock.advance(500);
    expect(rig.ports.held.placed.has('192.0.2.52')).toBe(true);
    rig.ports.held.proxy = rig.ports.held.proxy.with([[a.key, undefined]]);
    await rig.clock.advance(30_000);
    expect(rig.ports.held.proxy.has(a.key)).toBe(true);
    expect(rig.log.lines.at(-1)?.message).toBe('external change to HAProxy detected and reverted');
    expect(count(rig, 'audit')).toEqual([0, 0, 0, 0, 1]);
  });

  test('news of the kernel is audited for when the part is settled again', async () => {
    const rig = await startBusy(3_000);
    rig.ports.failing.set('placement.audit', 'no');
    rig.ports.held.placed.delete('192.0.2.52');
    rig.ports.tellNetwork('addresses');
    await rig.clock.advance(5_000);
    expect(rig.ports.held.placed.has('192.0.2.52')).toBe(false);
    rig.ports.failing.clear();
    await rig.clock.advance(30_000);
    expect(rig.ports.held.placed.has('192.0.2.52')).toBe(true);
  });
});

describe('an own address of the host', () => {
  const own = listener('192.0.2.10', 80, 'own', { isHostAddress: true });

  test('is never put on the host nor advertised, also when the host loses it', async () => {
    const rig = startAgent();
    rig.ports.setOwn('192.0.2.10');
    await publish(rig, own);
    expect(answer(rig, own)).toBe('ready');
    rig.ports.setOwn('192.0.2.61');
    rig.ports.tellNetwork('addresses');
    await rig.clock.advance(60_000);
    await publish(rig, own, a); // any change
    await rig.clock.advance(60_000);
    expect([...rig.ports.held.placed.keys()]).toEqual(['192.0.2.51']);
    expect([...rig.ports.held.advertised.keys()]).toEqual(['192.0.2.51']);
    expect([...rig.ports.held.attracted]).toEqual(['192.0.2.51']);
    expect(answer(rig, own)).toBe('192.0.2.10 is no longer an address of this host');
  });

  test('of an explicit pool is not advertised nor closed for ssh, and is put on and advertised when the host loses it', async () => {
    const rig = startAgent();
    const closed = (): readonly string[] => [...rig.ports.held.steering.vips.keys()]; // but for the ports of listeners
    rig.ports.setOwn('192.0.2.51');
    await publish(rig, a);
    await rig.clock.advance(60_000);
    expect([[...rig.ports.held.attracted], closed()]).toEqual([[], []]);
    rig.ports.setOwn();
    rig.ports.tellNetwork('addresses');
    await rig.clock.advance(500);
    expect([...rig.ports.held.placed.keys()]).toEqual(['192.0.2.51']);
    expect([...rig.ports.held.advertised.keys()]).toEqual(['192.0.2.51']);
    await publish(rig, a, listener('192.0.2.51', 81, 'another'));
    expect(closed()).toEqual(['192.0.2.51']);
  });
});
