import { expect, test } from 'vitest';
import {
  apply,
  closed,
  drained,
  endsOf,
  expectSame,
  newFlows,
  nextPort,
  nodeOf,
  nodesOf,
  restart,
  vips,
} from '../../../test/netns/direct-rig.ts';
import { serviceKey } from '../../core/model/names.ts';
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

test('the proofs of a Service are not those of another one on its address', async () => {
  const flows = await newFlows(vips[0], 3);
  await expectSame(vips[0], flows);
  expect(await endsOf('pins')).toHaveLength(3);
  await restart(unanswered(), { service: serviceKey('default', 'other') });
  for (const port of [...flows.keys(), nextPort()]) expect(await nodeOf(vips[0], port)).toBe('timeout');
});
