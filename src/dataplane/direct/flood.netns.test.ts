import { beforeAll, expect, test, vi } from 'vitest';
import { apply, endsOf, lab, nextPort, nodeOf, vips } from '../../../test/netns/direct-rig.ts';
import { duringFlood, flood, floodSources } from '../../../test/netns/flood.ts';
import { patience } from '../../../test/netns/patience.ts';
import { countElements } from '../nftables/count-elements.ts';
import { directTable } from './table/ruleset.ts';

/*
 * Packets from very many addresses for one listener: other listeners are served, and no map is full.
 */
const { signal } = new AbortController();
const [attacked, other6, other4] = vips;

beforeAll(async () => {
  await lab.router.exec('ip', 'route', 'add', floodSources, 'via', '198.51.100.2'); // the answers
});

const count = <Name extends string>(...maps: readonly Name[]): Promise<Readonly<Record<Name, number>>> =>
  countElements(lab.balancer.execPort, directTable, maps, signal);

/** The node of a new flow, whose client sends again, twice at most: a busy kernel may have no room for a packet that arrives. */
async function answering(vip: string): Promise<string> {
  const port = nextPort();
  let node = await nodeOf(vip, port);
  for (let again = 0; again < 2 && node === 'timeout'; again++) node = await nodeOf(vip, port);
  return node;
}

test.each(['tcp', 'udp'] as const)(
  'a flood of flows of one packet, %s: no new flow of another listener is lost, and none is pinned',
  async (protocol) => {
    const served = new Set<string>();
    const packets = { protocol, to: attacked, port: 53, count: 100_000 };
    const sent = await duringFlood(lab.client, packets, async () => {
      for (const vip of [other4, other6]) for (let flow = 0; flow < 10; flow++) served.add(await answering(vip));
    });
    expect([...served].toSorted()).toEqual(['n1', 'n2', 'n3']);
    expect(sent).toBeGreaterThan(2_000);
    const { pins, ...others } = await count('pins', 'closing', 'clients', 'overflow');
    expect(pins).toBeLessThan(20); // two of 100,000 flows may have the same hash, and a client may have sent again
    expect(others).toEqual({ closing: 0, clients: 0, overflow: 0 });
    expect(await nodeOf(attacked, nextPort())).toMatch(/^n/);
  },
);

test('with affinity, the first packet of a client keeps it for minutes, the second one for the timeout of the Service', async () => {
  await apply({ isAffine: true });
  await flood(lab.client, { protocol: 'tcp', to: attacked, port: 53, count: 1_000 });
  expect(await count('pins', 'clients')).toEqual({ pins: 0, clients: 0 });
  await flood(lab.client, { protocol: 'tcp', to: attacked, port: 53, count: 1_000, flags: 'ack' });
  await vi.waitUntil(async () => (await count('clients')).clients === 1_000, patience);
  for (const map of ['pins', 'clients'] as const) expect(Math.max(...(await endsOf(map)))).toBeLessThanOrEqual(60);
  await apply({ isAffine: false });
  await apply({ isAffine: true, affinitySeconds: 30 });
  for (let turn = 0; turn < 2; turn++) await nodeOf(other4, nextPort());
  expect((await endsOf('clients')).filter((seconds) => seconds > 170 && seconds <= 180)).toHaveLength(1); // as a flow of UDP
  await apply({ affinitySeconds: 10_800 });
  await flood(lab.client, { protocol: 'udp', to: other4, port: 53, count: 1_000 });
  await vi.waitUntil(async () => (await count('clients')).clients === 2_001, patience);
  expect(Math.max(...(await endsOf('clients')))).toBeLessThanOrEqual(180);
  for (let turn = 0; turn < 2; turn++) await nodeOf(other4, nextPort());
  expect((await endsOf('clients')).filter((seconds) => seconds > 2 * 3_600)).toHaveLength(1);
  for (const [vip, affinitySeconds] of [
    [other4, 500],
    [other6, 600],
  ] as const) {
    await apply({ affinitySeconds });
    for (let turn = 0; turn < 2; turn++) await nodeOf(vip, nextPort());
  }
  const ends = (await endsOf('clients')).filter((seconds) => seconds > 180);
  expect(ends.filter((seconds) => seconds > 540 && seconds <= 600)).toHaveLength(2);
  expect(ends).toHaveLength(2);
});

test('a flood of SYNs in the minute after a change of hands is remembered for that minute, and takes no room from pins', async () => {
  await apply({ uid: 'second' });
  await flood(lab.client, { protocol: 'tcp', to: attacked, port: 53, count: 1_000 });
  await vi.waitUntil(async () => (await count('opening')).opening === 1_000, patience);
  expect(Math.max(...(await endsOf('opening')))).toBeLessThanOrEqual(60);
  expect(await count('pins', 'overflow')).toEqual({ pins: 0, overflow: 0 });
});
