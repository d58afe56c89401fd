import { describe, expect, test } from 'vitest';
import { answer, listener, publish, type RunningAgent, startAgent, table } from '../../test/make/agent-rig.ts';
import type { StepName } from '../../test/make/host-ports.ts';
import { directListener } from '../../test/make/table.ts';
import { noLimits, plainProfile, plainServer } from '../core/traffic/options.ts';
import type { Listener } from '../core/traffic/table.ts';

/*
 * A HAProxy that hangs: it takes calls, and answers none of them.
 */
const { signal } = new AbortController();
const a = listener('192.0.2.51', 80, 'a');
const b = listener('192.0.2.51', 443, 'b');
const nat = (index: number): Listener =>
  listener(`192.0.2.${60 + index}`, 53, `dns${index}`, { protocol: 'UDP', dataplane: 'nat' });
const direct = (index: number): Listener => directListener(`192.0.2.${80 + index}`, 53);

/** These steps do not end before the result is called. */
function hang({ ports }: RunningAgent, ...steps: readonly StepName[]): (error?: Error) => void {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  for (const step of steps) ports.hanging.set(step, promise);
  return (error) => {
    for (const step of steps) ports.hanging.delete(step);
    if (error === undefined) resolve();
    else reject(error);
  };
}

/** Publishes, and waits for `ms`. */
async function change(rig: RunningAgent, ms: number, ...listeners: readonly Listener[]): Promise<void> {
  rig.agent.publish(table(...listeners));
  await rig.clock.advance(ms);
}

const count = ({ ports }: RunningAgent, step: StepName): number => ports.steps.filter((name) => name === step).length;

describe('a change that HAProxy does not answer', () => {
  test('delays those of nat and direct for a second, and only once', async () => {
    const rig = startAgent();
    await publish(rig, a);
    const upserts = count(rig, 'proxy.upsert');
    hang(rig, 'proxy.upsert');
    await change(rig, 1_000, a, b, nat(0), direct(0));
    expect([nat(0), direct(0)].map((each) => answer(rig, each))).toEqual(['ready', 'ready']);
    for (let index = 1; index < 20; index++) {
      await change(rig, 0, a, b, nat(index), direct(index));
      expect([nat(index), direct(index)].map((each) => answer(rig, each))).toEqual(['ready', 'ready']);
      expect([nat(index - 1), direct(index - 1)].map((each) => answer(rig, each))).toEqual(['nothing', 'nothing']);
      await rig.clock.advance(60_000);
    }
    expect(count(rig, 'proxy.upsert')).toBe(upserts + 1);
    expect([answer(rig, a), answer(rig, b)]).toEqual(['ready', 'pending']);
    expect(rig.agent.troubles()).toEqual(['HAProxy has not answered yet']);
    expect(rig.log.lines).toEqual([]);
  });

  test('is made as soon as it answers, as it is wanted by then', async () => {
    const rig = startAgent();
    await publish(rig, a);
    const end = hang(rig, 'proxy.upsert');
    await change(rig, 60_000, a, listener('192.0.2.51', 443, 'b', { sourceRanges: [] }));
    await change(rig, 60_000, b, nat(0));
    expect(answer(rig, b)).toBe('pending');
    end();
    await rig.clock.advance(0);
    expect([answer(rig, a), answer(rig, b), rig.agent.troubles()]).toEqual(['nothing', 'ready', []]);
    expect([...rig.ports.held.proxy.keys()]).toEqual([b.key]);
    await rig.clock.advance(10 * 60_000);
    expect(rig.log.lines).toEqual([]);
  });

  test('and that fails in the end is said, and tried again after growing waits', async () => {
    const rig = startAgent();
    await publish(rig, a);
    const upserts = count(rig, 'proxy.upsert');
    for (let time = 0; time < 4; time++) {
      const end = hang(rig, 'proxy.upsert');
      await change(rig, 10_000, a, b);
      end(new Error('no answer within 3 s'));
      await rig.clock.advance(0);
      expect([answer(rig, a), answer(rig, b)]).toEqual(['ready', 'no answer within 3 s']);
    }
    expect(rig.agent.troubles()).toEqual(['no answer within 3 s']);
    await rig.clock.advance(0);
    expect(rig.log.lines.map(({ message }) => message)).toEqual(['programming HAProxy failed; retrying']);
    expect(count(rig, 'proxy.upsert')).toBe(upserts + 4);
    await rig.clock.advance(30_000);
    expect([answer(rig, b), rig.agent.troubles()]).toEqual(['ready', []]);
  });

  test('is not certain to be made: its listener is in force again only when HAProxy says so, and has the source ranges of now', async () => {
    const rig = startAgent();
    await publish(rig, a);
    const end = hang(rig, 'proxy.upsert');
    await change(rig, 2_000, listener('192.0.2.51', 80, 'a', { targetPort: 31_000 }));
    const closed = listener('192.0.2.51', 80, 'a', { sourceRanges: [] });
    await change(rig, 2_000, closed);
    expect(rig.ports.held.steering.listeners.get(a.key)?.sourceRanges).toEqual([]);
    await change(rig, 2_000, a);
    expect(answer(rig, a)).toBe('pending');
    end();
    await rig.clock.advance(0);
    expect(answer(rig, a)).toBe('ready');
  });
});

test('a HAProxy that needs three seconds for each answer, as on a busy machine, makes each change', async () => {
  const rig = startAgent();
  rig.ports.hanging.get = (step) => (step.startsWith('proxy.') ? rig.clock.sleep(3_000, signal) : undefined);
  await change(rig, 20_000, a);
  expect(answer(rig, a)).toBe('ready');
  await change(rig, 10_000, b);
  expect([answer(rig, a), answer(rig, b), rig.agent.troubles()]).toEqual(['nothing', 'ready', []]);
  expect(rig.log.lines).toEqual([]);
});

test('a listener that a slow HAProxy refuses is said to be refused, is tried again after growing waits, and delays no other', async () => {
  const rig = startAgent();
  rig.ports.hanging.get = (step) => (step.startsWith('proxy.') ? rig.clock.sleep(3_000, signal) : undefined);
  rig.ports.refuses.proxy = ({ port }) => (port === 443 ? 'no such thing' : undefined);
  await change(rig, 30_000, a, b, nat(0));
  expect([a, b, nat(0)].map((each) => answer(rig, each))).toEqual(['ready', 'no such thing', 'ready']);
  const before = count(rig, 'proxy.upsert');
  await rig.clock.advance(10 * 60_000);
  expect(count(rig, 'proxy.upsert') - before).toBeLessThan(40);
  expect(rig.log.lines.length).toBeLessThan(8);
  rig.ports.refuses.proxy = () => undefined;
  await rig.clock.advance(70_000);
  expect([answer(rig, b), rig.agent.troubles()]).toEqual(['ready', []]);
});

test('a Service that waits for a reload of a slow HAProxy is served with a former profile, and HAProxy is not asked without a pause', async () => {
  const rig = startAgent();
  const waiting = listener('192.0.2.51', 443, 'waiting', {
    options: {
      limits: noLimits,
      server: plainServer,
      profile: { ...plainProfile, idleTimeoutMs: 60_000 },
      isMeasured: false,
    },
  });
  rig.ports.refuses.profile = ({ options }) =>
    options?.profile.idleTimeoutMs === 60_000 ? 'after five reloads' : undefined;
  rig.ports.hanging.get = (step) => (step === 'proxy.upsert' ? rig.clock.sleep(1_500, signal) : undefined);
  await change(rig, 30_000, a, waiting);
  const report = rig.agent.report().listeners.get(waiting.key);
  expect([report?.isForwarding, report?.refusal?.verdict]).toEqual([
    true,
    { reason: 'SettingsWaiting', message: 'after five reloads' },
  ]);
  const before = count(rig, 'proxy.upsert');
  await rig.clock.advance(10 * 60_000);
  expect(count(rig, 'proxy.upsert') - before).toBeLessThan(60);
  expect(answer(rig, a)).toBe('ready');
});

test('a slow HAProxy keeps a new listener while nftables fails: packets come when it is ready', async () => {
  const rig = startAgent();
  await publish(rig, a);
  rig.ports.hanging.get = (step) => (step.startsWith('proxy.') ? rig.clock.sleep(3_000, signal) : undefined);
  rig.ports.failing.set('steering.apply', 'nft: no');
  await change(rig, 6_100, a, b);
  const { held, failing } = rig.ports;
  expect(held.proxy.has(b.key)).toBe(true);
  failing.clear();
  const isReadyFirst: boolean[] = [];
  failing.set('direct.apply', () => {
    if (held.steering.listeners.has(b.key)) isReadyFirst.push(held.proxy.has(b.key));
    return undefined;
  });
  await rig.clock.advance(20_000);
  expect([answer(rig, b), isReadyFirst[0]]).toEqual(['ready', true]);
});

test('a listener that a slow HAProxy has removed stays removed while the next change of HAProxy fails', async () => {
  const rig = startAgent();
  await publish(rig, a, b);
  const endPruning = hang(rig, 'proxy.prune');
  await change(rig, 2_000, a);
  const endChange = hang(rig, 'proxy.upsert');
  endPruning();
  await change(rig, 2_000, a, listener('192.0.2.51', 81, 'c'));
  expect(answer(rig, b)).toBe('nothing');
  rig.ports.failing.set('proxy.upsert', 'no');
  endChange(new Error('no'));
  await rig.clock.advance(60_000);
  expect([count(rig, 'proxy.audit') > 0, rig.ports.held.proxy.has(b.key)]).toEqual([true, false]);
});

test('a removal that HAProxy does not answer delays no other change, and keeps its Service', async () => {
  const rig = startAgent();
  await publish(rig, a, b, nat(0));
  const end = hang(rig, 'proxy.prune', 'proxy.upsert');
  await change(rig, 1_000, a);
  expect([answer(rig, b), answer(rig, nat(0))].map((each) => each === 'nothing')).toEqual([false, true]);
  await change(rig, 0, a, nat(1));
  expect(answer(rig, nat(1))).toBe('ready');
  expect(rig.ports.steps).not.toContain('end 443');
  end();
  await rig.clock.advance(0);
  expect(answer(rig, b)).toBe('nothing');
  expect(rig.ports.steps).toContain('end 443');
});

test('an audit that HAProxy does not answer delays a change for a second, then none, and none follows before it ends', async () => {
  const rig = startAgent();
  await publish(rig, a);
  const end = hang(rig, 'proxy.audit', 'proxy.upsert', 'proxy.prune');
  await rig.clock.advance(30_000);
  expect(count(rig, 'proxy.audit')).toBe(1);
  await change(rig, 2_000, a, nat(0));
  expect(answer(rig, nat(0))).toBe('ready');
  await rig.clock.advance(10 * 60_000);
  await change(rig, 0, a, nat(1));
  expect([answer(rig, nat(1)), count(rig, 'proxy.audit')]).toEqual(['ready', 1]);
  end();
  await rig.clock.advance(31_000);
  expect([count(rig, 'proxy.audit'), rig.log.lines]).toEqual([2, []]);
});

test('while a change is under way that outlasts its pass, HAProxy is not audited: what it has is not known', async () => {
  const rig = startAgent();
  await publish(rig, a);
  const end = hang(rig, 'proxy.upsert');
  await change(rig, 10 * 60_000, a, b);
  expect(count(rig, 'proxy.audit')).toBe(0);
  end();
  await rig.clock.advance(60_000);
  expect([count(rig, 'proxy.audit') > 0, rig.log.lines]).toEqual([true, []]);
});

test('a HAProxy of an earlier process that hangs delays nat and direct for a second; its listeners stay, with the source ranges of now', async () => {
  const files = new Map<string, string>();
  const { ports } = await publish(startAgent({ files }), a, b, nat(0));
  const rig = startAgent({ files, ports });
  const end = hang(rig, 'proxy.upsert');
  await rig.agent.restore(() => undefined);
  const closed = listener('192.0.2.51', 443, 'b', { sourceRanges: [] });
  await change(rig, 1_000, a, closed, nat(1), direct(1));
  expect([answer(rig, nat(1)), answer(rig, direct(1)), answer(rig, nat(0))]).toEqual(['ready', 'ready', 'nothing']);
  expect([answer(rig, a), answer(rig, closed)]).toEqual(['pending', 'pending']);
  const steered = ports.held.steering.listeners;
  expect([steered.has(a.key), steered.get(b.key)?.sourceRanges]).toEqual([true, []]);
  expect(ports.held.placed.has('192.0.2.51')).toBe(true);
  end();
  await rig.clock.advance(0);
  expect([answer(rig, a), answer(rig, closed)]).toEqual(['ready', 'ready']);
});

test('without its record, what an earlier process programmed stays until a slow HAProxy answers', async () => {
  const { ports } = await publish(startAgent(), a, b, nat(0));
  const rig = startAgent({ ports });
  const end = hang(rig, 'proxy.upsert');
  await change(rig, 2_000, a, b, nat(0));
  expect([...ports.held.steering.listeners.keys()]).toContain(a.key);
  expect(ports.held.placed.has('192.0.2.51')).toBe(true);
  end();
  await rig.clock.advance(0);
  expect([answer(rig, a), answer(rig, b), answer(rig, nat(0))]).toEqual(['ready', 'ready', 'ready']);
});

test('a Service is drained although HAProxy does not answer', async () => {
  const rig = startAgent();
  await publish(rig, a);
  hang(rig, 'proxy.upsert', 'proxy.prune');
  const drained = listener('192.0.2.51', 80, 'a', { isDraining: true });
  await change(rig, 2_000, drained);
  expect([answer(rig, drained), rig.ports.held.steering.listeners.get(a.key)?.isDraining]).toEqual(['ready', true]);
});

test('before the first answer of HAProxy no pass is made for a change, and one after it', async () => {
  const rig = startAgent();
  const end = hang(rig, 'proxy.upsert');
  await change(rig, 10_000, a);
  const before = rig.ports.steps.length;
  for (let index = 0; index < 20; index++) await change(rig, 100, a, nat(index));
  expect(rig.ports.steps.slice(before)).toEqual([]);
  expect([answer(rig, a), answer(rig, nat(19)), rig.agent.troubles()]).toEqual([
    'pending',
    'pending',
    ['HAProxy has not answered yet'],
  ]);
  end();
  await rig.clock.advance(0);
  expect([answer(rig, a), answer(rig, nat(19)), rig.agent.troubles()]).toEqual(['ready', 'ready', []]);
});
