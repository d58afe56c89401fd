import { expect, test } from 'vitest';
import { listener, publish, type RunningAgent, startAgent } from '../../test/make/agent-rig.ts';
import { noLimits, plainProfile, plainServer, type Profile } from '../core/traffic/options.ts';
import type { Listener } from '../core/traffic/table.ts';

function withProfile(profile: Partial<Profile>, more: Partial<Listener> = {}): Listener {
  const server = { ...plainServer, proxyProtocol: 2 } as const;
  const options = { limits: noLimits, server, profile: { ...plainProfile, ...profile }, isMeasured: false };
  return listener('192.0.2.51', 80, 'a', { options, ...more });
}

const b = listener('192.0.2.51', 443, 'b');
const before = withProfile({ idleTimeoutMs: 1000 });
const { key } = before;

/** An agent whose HAProxy needs a reload for idle timeouts of two seconds or more, until `reload`. */
function start(): { readonly rig: RunningAgent; readonly reload: () => void } {
  const rig = startAgent();
  rig.ports.refuses.profile = ({ options }) => ((options?.profile.idleTimeoutMs ?? 0) > 1000 ? 'at noon' : undefined);
  return { rig, reload: () => (rig.ports.refuses.profile = () => undefined) };
}

function steered({ ports }: RunningAgent): Listener | undefined {
  return ports.held.steering.listeners.get(key);
}

function proxied({ ports }: RunningAgent): Listener | undefined {
  return ports.held.proxy.get(key);
}

function verdict({ agent }: RunningAgent): unknown {
  return agent.report().listeners.get(key)?.refusal?.verdict;
}

const waits = { reason: 'SettingsWaiting', message: 'at noon' };

test('a new listener whose profile waits for a reload is served with the most similar usual profile, and its other options', async () => {
  for (const [mode, seconds, usualSeconds] of [
    ['tcp', 0, 0],
    ['http', 0, 0],
    ['tcp', 60, 10_800],
  ] as const) {
    const { rig, reload } = start();
    const wanted = withProfile({ mode, idleTimeoutMs: 2000, affinitySeconds: seconds });
    await publish(rig, wanted, b);
    expect(verdict(rig)).toEqual(waits);
    expect(rig.agent.report().listeners.get(key)).toMatchObject({
      holder: wanted.service,
      isForwarding: true,
      refusal: { revision: wanted.revision },
    });
    expect(rig.ports.held.placed.has('192.0.2.51')).toBe(true);
    for (const held of [steered(rig), proxied(rig)])
      expect(held?.options).toEqual({
        ...wanted.options,
        profile: { ...plainProfile, mode, affinitySeconds: usualSeconds },
      });
    reload();
    await rig.clock.advance(60_000);
    expect([verdict(rig), proxied(rig)?.revision]).toEqual([undefined, wanted.revision]);
    expect(rig.agent.report().listeners.get(key)?.revision).toBe(wanted.revision);
  }
});

test('a listener whose new profile waits keeps the profile of before; all else that changes is in force', async () => {
  const { rig, reload } = start();
  await publish(rig, before, b);
  const wanted = withProfile({ idleTimeoutMs: 2000 }, { targetPort: 30_999 });
  await publish(rig, wanted, b);
  expect(verdict(rig)).toEqual(waits);
  expect(proxied(rig)).toMatchObject({ targetPort: 30_999, options: before.options });
  await publish(rig, withProfile({ idleTimeoutMs: 2000 }, { targetPort: 30_999, sourceRanges: [] }), b);
  expect(steered(rig)).toMatchObject({ targetPort: 30_999, sourceRanges: [], isDraining: false });
  await publish(rig, withProfile({ idleTimeoutMs: 3000 }, { targetPort: 30_999, isDraining: true }), b);
  expect(steered(rig)).toMatchObject({ sourceRanges: undefined, isDraining: true });
  await rig.clock.advance(10 * 60_000);
  expect(steered(rig)).toMatchObject({ targetPort: 30_999, isDraining: true, options: before.options });
  rig.agent.setServing(false);
  await rig.clock.advance(0);
  expect(steered(rig)).toMatchObject({ sourceRanges: [] });
  rig.agent.setServing(true);
  reload();
  await rig.clock.advance(60_000);
  expect([verdict(rig), proxied(rig)?.options?.profile.idleTimeoutMs]).toEqual([undefined, 3000]);
});

test('while nothing changes, a listener that waits is tried again after growing waits', async () => {
  const { rig } = start();
  await publish(rig, withProfile({ idleTimeoutMs: 2000 }), b);
  rig.ports.steps.length = 0;
  await rig.clock.advance(10 * 60_000);
  const upserts = rig.ports.steps.filter((step) => step === 'proxy.upsert').length;
  expect(upserts).toBeGreaterThan(5);
  expect(upserts).toBeLessThan(50);
  expect(verdict(rig)).toEqual(waits);
});

test('a listener that HAProxy refuses with the other profile as well stays as it is, as a failure', async () => {
  const { rig } = start();
  await publish(rig, before, b);
  rig.ports.refuses.profile = ({ targetPort }) => (targetPort === 30_999 ? 'no backends left' : undefined);
  await publish(rig, withProfile({ idleTimeoutMs: 2000 }, { targetPort: 30_999 }), b);
  expect(verdict(rig)).toEqual({ reason: 'DataplaneError', message: 'no backends left' });
  expect(proxied(rig)).toMatchObject({ targetPort: before.targetPort });
});

test('a listener that waits and that nft refuses is not in force', async () => {
  const { rig } = start();
  rig.ports.refuses.steering = (each) => (each.key === key ? 'nft: no' : undefined);
  await publish(rig, withProfile({ idleTimeoutMs: 2000 }), b);
  expect(verdict(rig)).toEqual({ reason: 'DataplaneError', message: 'nft: no' });
  expect(steered(rig)).toBeUndefined();
});
