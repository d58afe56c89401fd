import { expect, test } from 'vitest';
import { serveVips } from '../../../test/netns/direct-lab.ts';
import { lab, nextPort, nodeOf, vips } from '../../../test/netns/direct-rig.ts';
import { countFragments, type Fragment, fragmentsAt, orders, sendFragments } from '../../../test/netns/fragments.ts';
import { flood } from '../../../test/netns/flood.ts';
import { patience } from '../../../test/netns/patience.ts';
import { countElements } from '../nftables/count-elements.ts';
import { directTable } from './table/ruleset.ts';

/*
 * Fragments in any order: the node of the flow gets the datagram, or no node does.
 */
const { signal } = new AbortController();

/** The node of a new flow, and what the nodes get of a datagram of it, once the node has `most` fragments. */
async function arriving(
  vip: string,
  fragments: readonly Fragment[],
  most: number,
): Promise<readonly [string, unknown]> {
  const sourcePort = nextPort();
  const node = await nodeOf(vip, sourcePort);
  for (const each of lab.nodes) await countFragments(each, 5300);
  const from = vip.includes(':') ? '2001:db8:1::2' : '198.51.100.2';
  await sendFragments(lab.client, { from, to: vip, sourcePort, port: 53 }, fragments);
  await expect.poll(async () => (await fragmentsAt(lab.nodes))[node]?.fragments ?? 0, patience).toBe(most);
  expect(await nodeOf(vip, nextPort())).toMatch(/^n/); // later packets have arrived: no other one is on its way
  return [node, await fragmentsAt(lab.nodes)];
}

test.each(vips)('to %s, in any order: the node of the flow gets the datagram, or no node does', async (vip) => {
  for (const order of ['inOrder', 'firstOneFirst'] as const) {
    const [node, got] = await arriving(vip, orders[order], 3);
    expect([order, got]).toEqual([order, { [node]: { fragments: 3, whole: 1 } }]);
  }
  const [ofOverlapping, overlapping] = await arriving(vip, orders.overlapping, 3);
  expect(overlapping).toEqual({ [ofOverlapping]: { fragments: 3, whole: 0 } });
  // Those that come before the first one reach no node.
  const [ofReverse, reverse] = await arriving(vip, orders.reverse, 1);
  expect(reverse).toEqual({ [ofReverse]: { fragments: 1, whole: 0 } });
  expect((await arriving(vip, orders.withoutFirst, 0))[1]).toEqual({});
});

test('fragments that a node routes back to this host are not sent to it again', async () => {
  const [vip, ...others] = vips;
  await using _restored = {
    [Symbol.asyncDispose]: async () => {
      for (const each of lab.nodes) {
        await each.exec('ip', 'route', 'del', `${vip}/32`);
        await serveVips(each, vips, 5300);
      }
    },
  };
  for (const each of lab.nodes) {
    await serveVips(each, others, 5300); // it does not know the address yet
    await each.exec('ip', 'route', 'replace', `${vip}/32`, 'via', '192.0.2.2');
    await countFragments(each, 5300);
  }
  await sendFragments(lab.client, { from: '198.51.100.2', to: vip, sourcePort: nextPort(), port: 53 }, orders.inOrder);
  const numbers = async (): Promise<readonly number[]> =>
    Object.values(await fragmentsAt(lab.nodes)).map(({ fragments }) => fragments);
  await expect.poll(async () => (await numbers())[0] ?? 0, patience).toBeGreaterThan(2);
  expect(await nodeOf(others[1], nextPort())).toMatch(/^n/); // later packets have arrived
  expect(await numbers()).toEqual([3]);
});

test('a first fragment whose rest never comes is forgotten', async () => {
  const first = orders.inOrder.slice(0, 1);
  for (let number = 0; number < 5; number++) {
    const route = { from: '198.51.100.2', to: vips[0], sourcePort: nextPort(), port: 53 };
    await sendFragments(lab.client, route, first);
  }
  const known = async (): Promise<number> =>
    (await countElements(lab.balancer.execPort, directTable, ['fragments'], signal)).fragments;
  await expect.poll(known, patience).toBe(0);
});

test('datagrams of many clients within five seconds leave room for the fragments of others', async () => {
  await flood(lab.client, { protocol: 'udp', to: vips[0], port: 53, count: 25_000, isFragment: true });
  // The kernel of the node may have no room to put it together.
  const [node, got] = await arriving(vips[0], orders.inOrder, 3);
  expect(got).toMatchObject({ [node]: { fragments: 3 } });
});
