import { beforeAll, expect, test } from 'vitest';
import { addressOf } from '../../../test/make/table.ts';
import { arrivals, countArrivals } from '../../../test/netns/direct-lab.ts';
import { direct, lab, nextPort, vips } from '../../../test/netns/direct-rig.ts';
import { sendFrames, tagged, tooLargeFrame, withOptions } from '../../../test/netns/frames.ts';
import { patience } from '../../../test/netns/patience.ts';
import { tcpFrame, udpFrame } from './probes/probe-frames.ts';

/*
 * Frames that differ from the usual ones: which node gets them, if any does.
 */
const { signal } = new AbortController();
const [, vip6, lanVip] = vips;

beforeAll(async () => {
  for (const node of lab.nodes) await countArrivals(node, lanVip);
  // The client has no socket for the answers.
  await lab.client.nft(`table inet quiet {
  chain out {
    type filter hook output priority 0
    ip daddr ${lanVip} drop
    ip6 daddr ${vip6} drop
  }
}`);
});

/** The nodes that get packets to the addresses of listeners while `send` runs. */
async function nodesReachedBy(send: () => Promise<void>, packets: number): Promise<readonly string[]> {
  const counts = (): Promise<readonly number[]> => Promise.all(lab.nodes.map(arrivals));
  const before = await counts();
  await send();
  const grown = async (): Promise<readonly number[]> =>
    (await counts()).map((count, index) => count - (before[index] ?? 0));
  await expect.poll(async () => (await grown()).reduce((sum, count) => sum + count, 0), patience).toBe(packets);
  return (await grown()).flatMap((count, index) => Array.from({ length: count }, () => lab.nodes[index]?.name ?? ''));
}

test.each([
  ['TCP', 0],
  ['TCP', 60],
  ['UDP', 0],
  ['UDP', 60],
] as const)(
  'a packet of %s behind an extension header %d of IPv6 reaches the node of its flow',
  async (protocol, header) => {
    const from = { mac: (await lab.client.device('eth0')).mac, address: addressOf('2001:db8:1::2') };
    const to = { mac: (await lab.router.device('wan')).mac, address: addressOf(vip6), port: 53 };
    const reached = new Set<string>();
    for (let flow = 0; flow < 8; flow++) {
      const end = { ...from, port: nextPort() };
      const frame = protocol === 'TCP' ? tcpFrame('syn', end, to) : udpFrame(end, to, 64);
      const [plain, ...more] = await nodesReachedBy(() => sendFrames(lab.client, 'eth0', [frame]), 1);
      const behind = await nodesReachedBy(() => sendFrames(lab.client, 'eth0', [withOptions(frame, header)]), 1);
      expect([behind, more]).toEqual([[plain], []]);
      reached.add(plain ?? '');
    }
    expect(reached.size).toBeGreaterThan(1);
  },
);

test('a frame of another VLAN is left to the device of that VLAN; one with a priority only is served', async () => {
  const from = { mac: (await lab.router.device('lan')).mac, address: addressOf('198.51.100.2'), port: nextPort() };
  const to = { mac: (await lab.balancer.device('eth0')).mac, address: addressOf(lanVip), port: 53 };
  const frame = udpFrame(from, to, 64);
  const send = (...frames: readonly string[]): Promise<void> => sendFrames(lab.router, 'lan', frames);
  const taken = async (): Promise<number> => {
    const counters = await direct.counters(signal);
    return [...counters.values()].reduce((sum, { packets }) => sum + packets, 0);
  };
  const before = await taken();
  expect(await nodesReachedBy(() => send(tagged(frame, 7), tagged(frame, 7), frame), 1)).toHaveLength(1);
  expect((await taken()) - before).toBe(1);
  expect(await nodesReachedBy(() => send(tagged(frame, 0)), 1)).toHaveLength(1);
});

test.each([vip6, lanVip])('a frame from a node, and one for another machine, is sent to no node: %s', async (vip) => {
  const [node] = lab.nodes;
  if (node === undefined) throw new Error('no node');
  const [atNode, atBalancer] = [await node.device('eth0'), await lab.balancer.device('eth0')];
  const client = { mac: atNode.mac, address: addressOf(vip === vip6 ? '2001:db8:1::2' : '198.51.100.2') };
  const to = { mac: atBalancer.mac, address: addressOf(vip), port: 53 };
  const end = { ...client, port: nextPort() };
  const fromNode = [
    udpFrame(end, to, 64),
    tcpFrame('syn', end, to),
    tooLargeFrame(client, to, udpFrame({ ...to, mac: atNode.mac }, end, 64)),
  ];
  const router = { ...end, mac: (await lab.router.device('lan')).mac };
  await lab.balancer.exec('ip', 'link', 'set', 'eth0', 'promisc', 'on');
  await using _quiet = {
    [Symbol.asyncDispose]: async () => void (await lab.balancer.exec('ip', 'link', 'set', 'eth0', 'promisc', 'off')),
  };
  const send = async (): Promise<void> => {
    await sendFrames(node, 'eth0', fromNode);
    await sendFrames(lab.router, `lan-l`, [udpFrame(router, { ...to, mac: '02:00:00:00:00:99' }, 64)]);
    await sendFrames(lab.router, 'lan', [udpFrame(router, to, 64)]);
  };
  expect(await nodesReachedBy(send, 1)).toHaveLength(1);
});
