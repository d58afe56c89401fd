import { expect, test, vi } from 'vitest';
import { apply, direct, expectSame, lab, newFlows, nextPort, nodeOf, vips } from '../../../test/netns/direct-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { listener } from '../../../test/make/table.ts';
import type { DirectCounters } from '../../ports/direct.ts';

const { signal } = new AbortController();

async function countersOf(vip: string, protocol: 'TCP' | 'UDP'): Promise<DirectCounters | undefined> {
  const { key } = listener(vip, 53, 0, { protocol });
  return (await direct.counters(signal, [key])).get(key);
}

test.each([
  [vips[0], 20 + 8 + 1],
  [vips[1], 40 + 8 + 1],
])('counts the flows, packets and bytes of each listener: %s', async (vip, size) => {
  await expectSame(vip, await newFlows(vip, 10));
  expect(await countersOf(vip, 'UDP')).toEqual({ flows: 10, packets: 20, bytes: 20 * size, refused: 0 });
  const { id = 0 } = await lab.client.ask({ do: 'dial', address: vip, port: 53 });
  await vi.waitUntil(async () => (await lab.client.ask({ do: 'heard', id })).text !== '', patience);
  expect(await countersOf(vip, 'TCP')).toMatchObject({ flows: 1, refused: 0 });
  expect((await direct.counters(signal)).size).toBe(2 * vips.length);
  expect(await direct.audit(signal)).toBe(0);
});

test('with affinity a new client is a flow, and each TCP connection', async () => {
  await apply({ isAffine: true });
  await newFlows(vips[0], 4);
  expect(await countersOf(vips[0], 'UDP')).toMatchObject({ flows: 1, packets: 4 });
  for (let count = 0; count < 2; count++) {
    const { id = 0 } = await lab.client.ask({ do: 'dial', address: vips[0], port: 53 });
    await vi.waitUntil(async () => (await lab.client.ask({ do: 'heard', id })).text !== '', patience);
  }
  expect(await countersOf(vips[0], 'TCP')).toMatchObject({ flows: 2 });
});

test.each([vips[0], vips[1]])(
  'counts the packets from outside the source ranges, and sends none of them: %s',
  async (vip) => {
    await apply({ sourceRanges: ['192.0.2.0/24', '2001:db8::/64'] });
    for (let count = 0; count < 3; count++) expect(await nodeOf(vip, nextPort())).toBe('timeout');
    expect(await countersOf(vip, 'UDP')).toEqual({ flows: 0, packets: 0, bytes: 0, refused: 3 });
    expect(await direct.audit(signal)).toBe(0);
  },
);

test.each([vips[0], vips[1]])(
  'a change of the source ranges cuts the flows of clients outside them: %s',
  async (vip) => {
    const flows = await newFlows(vip, 3);
    await expectSame(vip, flows);
    const { id = 0 } = await lab.client.ask({ do: 'dial', address: vip, port: 53 });
    const heard = async (): Promise<string | undefined> => (await lab.client.ask({ do: 'heard', id })).text;
    const echo = async (text: string): Promise<void> => {
      await lab.client.ask({ do: 'say', id, text });
      await vi.waitUntil(async () => (await heard())?.endsWith(text), patience);
    };
    await echo('before ');
    await apply({ sourceRanges: ['192.0.2.0/24', '2001:db8::/64'] });
    for (const port of flows.keys()) expect(await nodeOf(vip, port)).toBe('timeout');
    const before = (await countersOf(vip, 'TCP'))?.refused ?? 0;
    await lab.client.ask({ do: 'say', id, text: 'excluded ' });
    await expect.poll(async () => (await countersOf(vip, 'TCP'))?.refused, patience).toBeGreaterThan(before);
    expect(await heard()).not.toContain('excluded');
    await apply();
    await vi.waitUntil(async () => (await heard())?.endsWith('excluded '), patience); // sent again
  },
);

test('without a table there is nothing counted', async () => {
  await direct.remove(signal);
  expect(await countersOf(vips[0], 'UDP')).toBeUndefined();
});

test('source ranges are removed while the table stays', async () => {
  await apply({ sourceRanges: ['198.51.100.0/24', '10.1.0.0-10.2.3.4', '10.9.0.1', '2001:db8::/32', 'fd99::9'] });
  await apply({ sourceRanges: ['198.51.100.0/24', '2001:db8::/32'] });
  const listed = await lab.balancer.exec('nft', 'list', 'table', 'netdev', 'furiwake');
  expect(listed).toContain('198.51.100.0/24');
  for (const removed of ['10.1.0.0', '10.9.0.1', 'fd99::9']) expect(listed).not.toContain(removed);
});
