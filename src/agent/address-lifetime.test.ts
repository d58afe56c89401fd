import { expect, test, vi } from 'vitest';
import { answer, listener, publish, startAgent, table } from '../../test/make/agent-rig.ts';

const a = listener('192.0.2.51', 80, 'a');
const b = listener('192.0.2.51', 443, 'b');
const c = listener('192.0.2.52', 80, 'c');

test('the lifetime of the addresses is extended in spite of a pass that hangs, and again after a failure', async () => {
  const rig = startAgent();
  await publish(rig, a);
  const hanging = Promise.withResolvers<void>();
  rig.ports.hanging.set('steering.apply', hanging.promise);
  await publish(rig, a, b);
  rig.ports.failing.set('placement.keepUntil', 'ip: no');
  rig.ports.steps.length = 0;
  rig.agent.keepAddressesUntil(100_000);
  await rig.clock.advance(5_000);
  const count = (): number => rig.ports.steps.filter((step) => step === 'placement.keepUntil').length;
  const tries = count();
  expect(tries).toBeGreaterThan(2);
  expect(tries).toBeLessThan(8);
  rig.ports.failing.clear();
  await rig.clock.advance(10_000);
  expect(count()).toBe(tries + 1);
  hanging.resolve();
});

test.each(['fails', 'hangs'])(
  'while ip %s a host is not ready when the lifetime of its addresses has ended',
  async (how) => {
    const rig = startAgent();
    await publish(rig, a);
    rig.agent.keepAddressesUntil(10_000);
    await rig.clock.advance(1_000);
    const answered = Promise.withResolvers<void>();
    if (how === 'fails') rig.ports.failing.set('placement.keepUntil', 'ip: no');
    else rig.ports.hanging.set('placement.keepUntil', answered.promise);
    rig.agent.keepAddressesUntil(30_000);
    await rig.clock.advance(8_000);
    const words = (): string | undefined => rig.agent.report().listeners.get(a.key)?.refusal?.verdict.message;
    expect([rig.agent.troubles(), words()]).toEqual([[], undefined]);
    await rig.clock.advance(2_000);
    const trouble = 'the lifetime of the addresses of this host has ended: ip could not extend it';
    expect(rig.agent.troubles()).toEqual([trouble]);
    expect(words()).toBe(`${a.address.text} is not on this host: ${trouble}`);
    rig.ports.failing.clear();
    answered.resolve();
    await rig.clock.advance(5_000);
    expect([rig.agent.troubles(), words()]).toEqual([[], undefined]);
  },
);

test('addresses that could not be added after the end of their lifetime are added when it is extended', async () => {
  const rig = startAgent();
  await publish(rig, a);
  rig.agent.keepAddressesUntil(10_000);
  await rig.clock.advance(1_000);
  rig.ports.failing.set('placement.keepUntil', 'ip: no');
  rig.agent.keepAddressesUntil(60_000);
  await rig.clock.advance(10_000);
  rig.ports.tellNetwork('addresses');
  await rig.clock.advance(1_000);
  await publish(rig, a, c);
  expect([...rig.ports.held.placed.keys()]).toEqual([]);
  rig.ports.failing.clear();
  await rig.clock.advance(5_000);
  expect([...rig.ports.held.placed.keys()]).toEqual([a.address.text, c.address.text]);
  expect([a, c].map((each) => answer(rig, each))).toEqual(['ready', 'ready']);
});

test.each([
  ['that has only its own addresses', listener('192.0.2.51', 80, 'own', { isHostAddress: true }), true],
  ['that is withdrawn', a, false],
])('while ip hangs a host %s has no lifetime that has ended', async (_, each, isServing) => {
  const rig = startAgent();
  rig.ports.setOwn(...(each.isHostAddress ? [each.address.text] : []));
  await publish(rig, each);
  rig.agent.keepAddressesUntil(10_000);
  await rig.clock.advance(1_000);
  const answered = Promise.withResolvers<void>();
  rig.ports.hanging.set('placement.keepUntil', answered.promise);
  rig.agent.keepAddressesUntil(30_000);
  rig.agent.setServing(isServing);
  await rig.clock.advance(10_000);
  expect(rig.agent.troubles()).toEqual([]);
  answered.resolve();
});

test('when the lifetime ends, all listeners are read a few times, not once for each of them', async () => {
  const rig = startAgent();
  const wanted = table(...Array.from({ length: 100 }, (_, at) => listener('192.0.2.51', 1_000 + at, 'a')));
  rig.agent.publish(wanted);
  rig.agent.keepAddressesUntil(10_000);
  await rig.clock.advance(1_000);
  rig.ports.failing.set('placement.keepUntil', 'ip: no');
  rig.agent.keepAddressesUntil(60_000);
  await rig.clock.advance(8_000);
  const reads = vi.spyOn(wanted.listeners, 'values');
  await rig.clock.advance(2_000);
  expect(rig.agent.troubles()).toHaveLength(1);
  expect(reads.mock.calls.length).toBeLessThan(20);
});

test.each([50, 150, 3_000])(
  'a host that takes over while ip fails for %d ms has its addresses when it no longer does',
  async (ms) => {
    const rig = startAgent();
    await publish(rig, a);
    rig.agent.keepAddressesUntil(10_000);
    await rig.clock.advance(1_000);
    rig.agent.setServing(false);
    await rig.clock.advance(60_000);
    rig.ports.failing.set('placement.keepUntil', 'ip: no');
    rig.agent.keepAddressesUntil(90_000);
    rig.agent.setServing(true);
    await rig.clock.advance(ms);
    expect(answer(rig, a)).toBe(
      '192.0.2.51 is not on this host: the lifetime of the addresses of this host has ended: ip could not extend it',
    );
    rig.ports.failing.clear();
    await rig.clock.advance(5_000);
    expect([[...rig.ports.held.placed.keys()], answer(rig, a), rig.agent.troubles()]).toEqual([
      [a.address.text],
      'ready',
      [],
    ]);
  },
);
