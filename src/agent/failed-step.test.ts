import { expect, test } from 'vitest';
import { answer, listener, publish, startAgent } from '../../test/make/agent-rig.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { makeFailedStep } from './failed-step.ts';
import type { PassFailure } from './pass.ts';

const failureOf = (stage: PassFailure['stage']): PassFailure => ({ stage, error: new Error('no'), words: 'no' });
const addresses = failureOf('addresses');

const make = () => makeFailedStep({ log: recordLog(), monotonic: () => 0 });

test('passes skip the step until it is due, and the waits grow until a pass with it succeeds', () => {
  const step = make();
  let nowMs = 0;
  const waits: number[] = [];
  for (let turn = 0; turn < 20; turn++) {
    step.note(addresses, step.begin(nowMs), nowMs);
    const dueMs = step.dueMs() ?? 0;
    expect(step.begin(dueMs - 1)).toMatchObject(addresses);
    step.note(undefined, addresses, dueMs - 1); // the rest of the pass succeeded
    expect(step.failure()).toMatchObject(addresses);
    waits.push(dueMs - nowMs);
    nowMs = dueMs;
  }
  expect(waits[0]).toBeLessThanOrEqual(200);
  expect(waits.at(-1)).toBeGreaterThan(10_000);
  expect(Math.max(...waits)).toBeLessThanOrEqual(30_000);
  step.note(undefined, step.begin(nowMs), nowMs);
  expect([step.failure(), step.dueMs()]).toEqual([undefined, undefined]);
  step.note(addresses, undefined, nowMs);
  expect((step.dueMs() ?? 0) - nowMs).toBeLessThanOrEqual(200);
});

test('a pass in a hurry does not wait for it, and only that one', () => {
  const step = make();
  step.note(addresses, undefined, 0);
  step.hurry();
  expect(step.begin(1)).toBeUndefined();
  expect(step.begin(1)).toMatchObject(addresses);
});

test('no pass skips steering: all changes wait for it, and for no other step', () => {
  const step = make();
  expect(step.isBlocking()).toBe(false);
  step.note(failureOf('steering'), undefined, 0);
  expect(step.isBlocking()).toBe(true);
  expect(step.begin(1)).toBeUndefined();
  for (const stage of ['proxy', 'direct', 'nat', 'addresses', 'removal'] as const) {
    step.note(failureOf(stage), undefined, 1);
    expect(step.isBlocking()).toBe(false);
  }
});

test.each(['direct', 'nat'] as const)(
  'a listener that leaves %s while that step fails is not reported as ready before the step succeeds',
  async (dataplane) => {
    const rig = startAgent();
    const before = listener('192.0.2.53', 53, 'dns', { dataplane });
    const after = listener('192.0.2.53', 53, 'dns');
    await publish(rig, before);
    rig.ports.failing.set(`${dataplane}.apply`, 'nft: no');
    await publish(rig, after);
    expect([answer(rig, after), rig.ports.held[dataplane].size]).toEqual(['nft: no', 1]);
    rig.ports.failing.clear();
    await rig.clock.advance(30_000);
    expect([answer(rig, after), rig.ports.held[dataplane].size]).toEqual(['ready', 0]);
  },
);

test('a listener whose change failed is not in force for certain, though it is wanted as it was before', async () => {
  const rig = startAgent();
  const before = listener('192.0.2.51', 80, 'a');
  await publish(rig, before);
  rig.ports.failing.set('steering.apply', 'nft: no answer within 30 s');
  await publish(rig, listener('192.0.2.51', 80, 'a', { sourceRanges: [] }));
  await publish(rig, before);
  expect(answer(rig, before)).toBe('nft: no answer within 30 s');
  rig.ports.failing.clear();
  await rig.clock.advance(30_000);
  expect(answer(rig, before)).toBe('ready');
});

test('the connections of a listener end when packets to it have stopped, not before', async () => {
  const rig = startAgent();
  await publish(rig, listener('192.0.2.51', 80, 'a'));
  rig.ports.failing.set('steering.apply', 'nft: no');
  const ended = (): readonly string[] => rig.ports.steps.filter((step) => step.startsWith('end '));
  await publish(rig);
  expect([ended(), rig.ports.held.proxy.size]).toEqual([[], 1]);
  rig.ports.failing.clear();
  await rig.clock.advance(30_000);
  expect([ended(), rig.ports.held.proxy.size]).toEqual([['end 80'], 0]);
});
