import { expect, test } from 'vitest';
import { answer, listener, publish, type RunningAgent, startAgent, table } from '../../test/make/agent-rig.ts';
import type { StepName } from '../../test/make/host-ports.ts';
import { directListener } from '../../test/make/table.ts';
import type { Listener } from '../core/traffic/table.ts';

/*
 * Parts that hang, or are slow each time. HAProxy, which only some listeners need, has more tests in `slow-proxy.test.ts`.
 */
const { signal } = new AbortController();
const a = listener('192.0.2.51', 80, 'a');
/** Of the same address, so that it needs no other. */
const next = (index: number): Listener => listener('192.0.2.51', 8_000 + index, `next${index}`);
const nat = (index: number): Listener =>
  listener('192.0.2.51', 5_000 + index, `dns${index}`, { protocol: 'UDP', dataplane: 'nat' });
const direct = (index: number): Listener => directListener('192.0.2.51', 9_000 + index);
const elsewhere = listener('192.0.2.60', 80, 'elsewhere');
const steps: readonly StepName[] = [
  'proxy.upsert',
  'proxy.prune',
  'steering.apply',
  'direct.apply',
  'nat.apply',
  'placement.add',
  'placement.remove',
  'host.endConnections',
];

async function change(rig: RunningAgent, ms: number, ...listeners: readonly Listener[]): Promise<void> {
  rig.agent.publish(table(...listeners));
  await rig.clock.advance(ms);
}

const isReady = (rig: RunningAgent, ...listeners: readonly Listener[]): boolean =>
  listeners.every((each) => answer(rig, each) === 'ready');

/** The listeners that `step` is needed for, and one of each dataplane that it is not needed for. */
type Needs = { readonly concerned?: Listener; readonly others: (index: number) => readonly Listener[] };
const needing: Partial<Record<StepName, Needs>> = {
  'proxy.upsert': { concerned: next(0), others: (index) => [nat(index), direct(index)] },
  'proxy.prune': { others: (index) => [nat(index), direct(index)] },
  'direct.apply': { concerned: direct(0), others: (index) => [next(index), nat(index)] },
  'nat.apply': { concerned: nat(0), others: (index) => [next(index), direct(index)] },
  'placement.add': { concerned: elsewhere, others: (index) => [next(index), nat(index), direct(index)] },
};

test.each(steps.filter((step) => step !== 'steering.apply'))(
  '%s, which hangs, delays a change of what does not need it for a second, and only once',
  async (step) => {
    const rig = startAgent();
    const leaving = listener('192.0.2.70', 80, 'leaving');
    await publish(rig, a, leaving);
    const hanging = Promise.withResolvers<void>();
    rig.ports.hanging.set(step, hanging.promise);
    const { concerned, others }: Needs = needing[step] ?? {
      others: (index) => [next(index), nat(index), direct(index)],
    };
    const always = concerned === undefined ? [a] : [a, concerned];
    await change(rig, 1_000, ...always, ...others(1));
    expect(isReady(rig, a, ...others(1))).toBe(true);
    for (let index = 2; index < 5; index++) {
      await change(rig, 1, ...always, ...others(index));
      expect(isReady(rig, a, ...others(index))).toBe(true);
      await rig.clock.advance(60_000);
    }
    expect([concerned === undefined || answer(rig, concerned), rig.agent.troubles().length]).toEqual([
      concerned === undefined || 'pending',
      1,
    ]);
    rig.ports.hanging.clear();
    hanging.resolve();
    await rig.clock.advance(0);
    await rig.clock.advance(0);
    expect([isReady(rig, ...always), rig.agent.troubles(), rig.log.lines]).toEqual([true, [], []]);
    expect([answer(rig, leaving), rig.ports.held.placed.has('192.0.2.70')]).toEqual(['nothing', false]);
  },
);

test('while nft hangs, what is served stays; all changes are made when it answers, as wanted by then', async () => {
  const rig = startAgent();
  await publish(rig, a);
  const hanging = Promise.withResolvers<void>();
  rig.ports.hanging.set('steering.apply', hanging.promise);
  for (let index = 0; index < 5; index++) await change(rig, 60_000, a, next(index), nat(index));
  expect([answer(rig, a), answer(rig, next(4)), answer(rig, nat(4))]).toEqual(['ready', 'pending', 'pending']);
  expect(rig.agent.troubles()).toEqual(['nft has not answered yet']);
  rig.ports.hanging.clear();
  hanging.resolve();
  await rig.clock.advance(0);
  await rig.clock.advance(0);
  expect([isReady(rig, a, next(4), nat(4)), answer(rig, next(0))]).toEqual([true, 'nothing']);
  expect([rig.agent.troubles(), rig.log.lines]).toEqual([[], []]);
});

test.each(steps)('%s, which needs seven seconds each time, makes each change', async (step) => {
  const rig = startAgent();
  rig.ports.hanging.get = (name) => (name === step ? rig.clock.sleep(7_000, signal) : undefined);
  const leaving = listener('192.0.2.70', 80, 'leaving');
  await change(rig, 60_000, a, leaving);
  expect(isReady(rig, a, leaving)).toBe(true);
  await change(rig, 60_000, a, elsewhere, nat(0), direct(0));
  expect([isReady(rig, a, elsewhere, nat(0), direct(0)), answer(rig, leaving)]).toEqual([true, 'nothing']);
  expect([rig.agent.troubles(), rig.log.lines]).toEqual([[], []]);
});

test.each(steps)('changes without a pause are made although %s needs seven seconds each time', async (step) => {
  const rig = startAgent();
  rig.ports.hanging.get = (name) => (name === step ? rig.clock.sleep(7_000, signal) : undefined);
  const leaving = listener('192.0.2.70', 80, 'leaving');
  await change(rig, 60_000, a, leaving);
  for (let index = 0; index < 60; index++) await change(rig, 1_000, a, elsewhere, next(index), nat(index));
  expect([isReady(rig, a, elsewhere), answer(rig, leaving)]).toEqual([true, 'nothing']);
});

test.each([
  ['placement.add', 'host.endConnections'],
  ['placement.remove', 'host.endConnections'],
  ['direct.apply', 'nat.apply'],
  ['direct.apply', 'steering.apply'],
] as const)(
  'while %s hangs, %s, which takes some milliseconds, is not repeated without a pause, and succeeds',
  async (hanging, other) => {
    const rig = startAgent();
    const leaving = listener('192.0.2.51', 81, 'leaving');
    await publish(rig, a, leaving, listener('192.0.2.70', 80, 'away'));
    const never = Promise.withResolvers<void>();
    rig.ports.hanging.get = (step) =>
      step === hanging ? never.promise : step === other ? rig.clock.sleep(5, signal) : undefined;
    rig.ports.steps.length = 0;
    await change(rig, 60_000, a, elsewhere, nat(0), direct(0));
    const [name = ''] = other === 'host.endConnections' ? ['end'] : [other];
    expect(rig.ports.steps.filter((step) => step.startsWith(name)).length).toBeLessThan(8);
    expect([answer(rig, leaving), answer(rig, nat(0))]).toEqual(['nothing', 'ready']);
  },
);

test('an audit of addresses that takes long announces nothing that was withdrawn meanwhile', async () => {
  const rig = startAgent();
  await publish(rig, a);
  rig.ports.hanging.get = (step) => (step === 'placement.audit' ? rig.clock.sleep(3_000, signal) : undefined);
  rig.ports.steps.length = 0;
  while (!rig.ports.steps.includes('placement.audit')) await rig.clock.advance(100);
  rig.agent.setServing(false);
  for (let ms = 0; ms < 60_000; ms += 1_000) {
    await rig.clock.advance(1_000);
    expect(rig.ports.held.advertised.size).toBe(0);
  }
});

test('addresses that change while others are added slowly are audited soon after that', async () => {
  const rig = startAgent();
  await publish(rig, a);
  await rig.clock.advance(1_000);
  rig.ports.hanging.get = (step) => (step === 'placement.add' ? rig.clock.sleep(3_000, signal) : undefined);
  await change(rig, 1_500, a, elsewhere);
  rig.ports.steps.length = 0;
  rig.ports.tellNetwork('addresses');
  await rig.clock.advance(10_000); // three additions, of which the third one is waited for
  expect(rig.ports.steps).toContain('placement.audit');
});

test.each(['proxy', 'steering', 'direct', 'nat', 'placement'] as const)(
  'an audit of %s that does not end delays no change for more than five seconds, and none of another part',
  async (part) => {
    const rig = startAgent();
    await publish(rig, a);
    const hanging = Promise.withResolvers<void>();
    const step: StepName = `${part}.audit`;
    rig.ports.hanging.set(step, hanging.promise);
    rig.ports.steps.length = 0;
    await change(rig, 40_000, a);
    const others = ['proxy', 'steering', 'direct', 'nat', 'placement'].filter((each) => each !== part);
    for (let index = 0; index < 5; index++) {
      const from = rig.ports.steps.length;
      await change(rig, 0, a, next(index), nat(index), direct(index));
      expect(isReady(rig, a, next(index), nat(index), direct(index))).toBe(true);
      await rig.clock.advance(40_000);
      const since = new Set(rig.ports.steps.slice(from));
      expect(others.filter((each) => !since.has(`${each}.audit`))).toEqual([]);
    }
    expect(rig.ports.steps.filter((each) => each === step)).toHaveLength(1);
    hanging.resolve();
  },
);
