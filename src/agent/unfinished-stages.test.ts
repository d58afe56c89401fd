import { expect, test } from 'vitest';
import { answer, listener, publish, startAgent } from '../../test/make/agent-rig.ts';

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

test('when HAProxy serves again after a long failure, its changes are made at once', async () => {
  const rig = startAgent();
  const [a, b] = [listener('192.0.2.51', 80, 'a'), listener('192.0.2.51', 443, 'b')];
  await publish(rig, a);
  rig.ports.failing.set('proxy.upsert', 'port 292 is held by perl');
  await publish(rig, a, b);
  await rig.clock.advance(10 * 60_000); // in the middle of a long wait
  const attempts = (): number => rig.ports.steps.filter((name) => name === 'proxy.upsert').length;
  const before = attempts();
  rig.ports.setOutage('port 292 is held by perl');
  await rig.clock.advance(100);
  expect([attempts() - before, answer(rig, b)]).toEqual([0, 'HAProxy does not serve: port 292 is held by perl']);
  rig.ports.failing.clear();
  rig.ports.setOutage(undefined);
  await rig.clock.advance(100);
  expect([attempts() - before, answer(rig, b), rig.agent.troubles()]).toEqual([1, 'ready', []]);
});
