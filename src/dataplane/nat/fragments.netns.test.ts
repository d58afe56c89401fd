import { afterAll, beforeAll, expect, test } from 'vitest';
import { countFragments, type Fragment, fragmentsAt, orders, sendFragments } from '../../../test/netns/fragments.ts';
import { dns, nodePort, type NatRig, startNatRig } from '../../../test/netns/nat-rig.ts';
import { patience } from '../../../test/netns/patience.ts';

/*
 * Fragments in any order: conntrack puts the datagram together, and the node of the flow gets it, or no node gets anything.
 */
let rig: NatRig;

beforeAll(async () => {
  rig = await startNatRig();
  await rig.apply(dns('10.50.0.1'), dns('fd50::1'));
});
afterAll(() => rig?.[Symbol.asyncDispose]());

/** The node of a new flow, and what the nodes get of a datagram of it. */
async function arriving(
  vip: string,
  fragments: readonly Fragment[],
  isWhole: boolean,
): Promise<readonly [string, unknown]> {
  const [[sourcePort, node] = [0, '']] = await rig.newFlows(vip, 1);
  for (const each of rig.lab.nodes) await countFragments(each, nodePort);
  const from = vip.includes(':') ? 'fd10::2' : '10.10.0.2';
  await sendFragments(rig.lab.client, { from, to: vip, sourcePort, port: 53 }, fragments);
  await expect.poll(async () => (await fragmentsAt(rig.lab.nodes))[node]?.whole ?? 0, patience).toBe(isWhole ? 1 : 0);
  await rig.newFlows(vip, 3); // later packets have arrived: no other one is on its way
  return [node, await fragmentsAt(rig.lab.nodes)];
}

test.each(['10.50.0.1', 'fd50::1'])('to %s, in any order', async (vip) => {
  for (const order of ['inOrder', 'firstOneFirst', 'reverse'] as const) {
    const [node, got] = await arriving(vip, orders[order], true);
    expect([order, got]).toEqual([order, { [node]: { fragments: 3, whole: 1 } }]);
  }
  for (const order of ['overlapping', 'withoutFirst'] as const)
    expect([order, (await arriving(vip, orders[order], false))[1]]).toEqual([order, {}]);
});
