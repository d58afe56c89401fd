import { describe, expect, test } from 'vitest';
import {
  apply,
  boots,
  byHand,
  closed,
  drained,
  expectSame,
  newFlows,
  nextPort,
  nodeOf,
  nodesOf,
  restart,
  vips,
} from '../../../test/netns/direct-rig.ts';
import { makeGate } from '../../health/gate.ts';
import { systemClock } from '../../main/node/clock.ts';
import type { Gate } from '../../ports/gate.ts';

/** A gate that gets no answer of any kube-proxy. */
function unanswered(): Gate {
  return makeGate({
    makeKubeProxy: () => ({ ask: async () => undefined, close: () => undefined }),
    clock: systemClock,
  });
}

test('after a kill the nodes that were shown to serve a listener keep its flows and get new ones; the others need a proof', async () => {
  closed.add('n3');
  drained.add('n2');
  await apply();
  const flows = await newFlows(vips[0], 10);
  await expectSame(vips[0], flows);
  expect(nodesOf(flows)).toEqual(['n1']);
  drained.clear(); // n2 was shown, too
  await restart(unanswered());
  await expectSame(vips[0], flows);
  for (const vip of vips) expect(nodesOf(await newFlows(vip, 20))).toEqual(['n1', 'n2']);
});

test('after the kill of a process that was resumed the proofs are still there', async () => {
  closed.add('n3');
  await apply({ weights: { n1: 1, n2: 1, n3: 1 } });
  for (let count = 0; count < 2; count++) await restart(unanswered());
  for (const vip of vips) expect(nodesOf(await newFlows(vip, 20))).toEqual(['n1', 'n2']);
});

test('a node that has rebooted since the kill needs a proof again, whichever process saw it first', async () => {
  boots.set('n1', 'second');
  await restart(unanswered());
  for (const vip of vips) expect(nodesOf(await newFlows(vip, 20))).toEqual(['n2', 'n3']);
  boots.set('n2', 'second'); // the API server answers only now
  await apply();
  for (const vip of vips) await expect.poll(async () => nodesOf(await newFlows(vip, 10))).toEqual(['n3']);
  boots.set('n1', 'first'); // of the time of the proof
  await restart(unanswered());
  for (const vip of vips) expect(nodesOf(await newFlows(vip, 20))).toEqual(['n3']);
});

test('the proofs of a Service are not those of the next one on its address, also under the same name', async () => {
  await restart(unanswered(), { uid: 'second' });
  for (const vip of vips) expect(await nodeOf(vip, nextPort())).toBe('timeout');
});

describe('flows at a node that drains', () => {
  const vip = vips[0];

  /** Some that only their pins keep at n1. */
  async function keptFlows(): Promise<ReadonlyMap<number, string>> {
    const all = await newFlows(vip, 12);
    await expectSame(vip, all);
    drained.add('n1');
    await apply();
    const kept = new Map([...all].filter(([, node]) => node === 'n1'));
    await expectSame(vip, kept);
    return kept;
  }

  test('stay there over a kill, also those of a Service that was created again under the same name', async () => {
    await apply({ uid: 'second' });
    const kept = await keptFlows();
    expect(kept.size).toBeGreaterThan(0);
    await restart(byHand());
    await expectSame(vip, kept);
  });

  test('are not those of a Service that was created again under the same name while furiwake was down', async () => {
    const kept = await keptFlows();
    expect(kept.size).toBeGreaterThan(0);
    await restart(byHand(), { uid: 'second' });
    for (const port of kept.keys()) expect(['n2', 'n3']).toContain(await nodeOf(vip, port));
  });
});
