import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { dns, type NatRig, otherNodePort, startNatRig } from '../../../test/netns/nat-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { parseRange } from '../../core/ip/range.ts';
import type { Protocol } from '../../core/model/service.ts';
import { listenerKey } from '../../core/traffic/table.ts';
import { parseIp } from '../../core/ip/ip.ts';
import type { NatCounters } from '../../ports/nat.ts';

const { signal } = new AbortController();
/** The headers of a UDP datagram. */
const families = [
  ['10.50.0.9', 20 + 8],
  ['fd50::9', 40 + 8],
] as const;
let rig: NatRig;

beforeAll(async () => {
  rig = await startNatRig();
});
afterAll(() => rig?.[Symbol.asyncDispose]());

async function countersOf(vip: string, protocol: Protocol = 'UDP'): Promise<NatCounters | undefined> {
  const address = parseIp(vip);
  const key = address && listenerKey(address, 53, protocol);
  return key && (await rig.nat().counters(signal, [key])).get(key);
}

test.each(families)('counts flows, and packets and bytes each way: %s', async (vip, headers) => {
  await rig.apply(dns(vip), dns(vip, { protocol: 'TCP' }));
  const flows = await rig.newFlows(vip, 5);
  for (const port of flows.keys()) expect(await rig.nodeOf(vip, port)).toMatch(/^n/);
  const { packetsIn = 0, bytesIn = 0, bytesOut = 0, ...rest } = (await countersOf(vip)) ?? {};
  expect(rest).toEqual({ flows: 5, packetsOut: 10, refused: 0 });
  expect(packetsIn).toBe(10);
  expect(bytesIn).toBe(10 * (headers + 1));
  expect(bytesOut).toBeGreaterThan(10 * (headers + 2));
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: vip, port: 53 });
  await vi.waitUntil(async () => (await rig.lab.client.ask({ do: 'heard', id })).text !== '', patience);
  const tcp = await countersOf(vip, 'TCP');
  expect(tcp).toMatchObject({ flows: 1, refused: 0 });
  expect([tcp?.packetsIn, tcp?.packetsOut].every((packets = 0) => packets >= 2)).toBe(true);
  expect(await rig.nat().audit(signal)).toBe(0);
});

test.each(families)('counts the packets from outside the source ranges: %s', async (vip) => {
  const ranges = ['192.0.2.0/24', '2001:db8::/64'].flatMap((text) => parseRange(text) ?? []);
  await rig.apply(dns(vip, { sourceRanges: ranges.filter(({ family }) => (family === 6) === vip.includes(':')) }));
  for (const port of [10_001, 10_001, 10_002]) expect(await rig.nodeOf(vip, port)).toBe('timeout');
  expect(await countersOf(vip)).toEqual({ flows: 0, packetsIn: 0, bytesIn: 0, packetsOut: 0, bytesOut: 0, refused: 3 });
});

test.each(['10.50.0.1', 'fd50::1'])(
  'the flows of the host itself are counted, without their answers: %s',
  async (vip) => {
    await rig.apply(dns(vip));
    expect(await rig.nodeOf(vip, 10_003, 'balancer')).toMatch(/^n/);
    expect(await countersOf(vip)).toMatchObject({ flows: 1, packetsIn: 1, packetsOut: 0 });
  },
);

test('a listener that gets another nodePort counts the packets to that one', async () => {
  const [[vip]] = families;
  await rig.apply(dns(vip));
  await rig.newFlows(vip, 2);
  await rig.apply(dns(vip, { targetPort: otherNodePort }));
  await rig.newFlows(vip, 3);
  expect(await countersOf(vip)).toMatchObject({ packetsIn: 3, packetsOut: 3 });
});
