import { afterEach, expect, test } from 'vitest';
import { apply, direct, expectSame, lab, newFlows, nextPort, nodeOf, vips } from '../../../../test/netns/direct-rig.ts';

const { signal } = new AbortController();
const [vip4, vip6] = vips;

/** The client sends from this address. */
async function sendFrom(source: string): Promise<void> {
  const { client } = lab;
  const isV6 = source.includes(':');
  const own = isV6 ? [`${source}/128`, 'dev', 'lo', 'nodad'] : [`${source}/32`, 'dev', 'lo'];
  await client.exec('ip', 'address', 'replace', ...own);
  const route = isV6
    ? ['-6', 'route', 'replace', vip6, 'via', '2001:db8:1::1']
    : ['route', 'replace', vip4, 'via', '198.51.100.1'];
  await client.exec('ip', ...route, 'src', source);
}

afterEach(async () => {
  await lab.client.exec('ip', 'address', 'flush', 'dev', 'lo', 'scope', 'global');
  for (const [family, vip] of [
    ['-4', vip4],
    ['-6', vip6],
  ] as const)
    await lab.client.exec('ip', family, 'route', 'del', vip).catch(() => '');
});

async function dropped(): Promise<number> {
  const listed = await lab.balancer.exec('nft', 'list', 'set', 'netdev', 'furiwake', 'spoofed');
  return [...listed.matchAll(/packets (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
}

test.each([
  ['a Pod', '10.244.1.9'],
  ['a Pod', 'fd44::9'],
  ['a Service', '10.96.0.10'],
  ['a Service', 'fd96::a'],
  ['a node', '192.0.2.12'],
  ['a node', '2001:db8::12'],
  ['a VIP', vips[2]],
  ['the host itself', '192.0.2.2'],
  ['a broadcast', '192.0.2.255'],
])('a packet from the address of %s, %s, reaches no node and is counted', async (_, source) => {
  const vip = source.includes(':') ? vip6 : vip4;
  for (const isAffine of [false, true]) {
    await apply({ isAffine });
    const before = await dropped();
    await sendFrom(source);
    expect(await nodeOf(vip, nextPort())).toBe('timeout');
    await lab.client.ask({ do: 'fetch', address: vip, port: 53, timeoutMs: 400 });
    expect(await dropped()).toBeGreaterThanOrEqual(before + 2);
  }
});

test.each(['10.245.1.9', 'fd45::9'])('a client near these ranges, %s, is served', async (source) => {
  const vip = source.includes(':') ? vip6 : vip4;
  await sendFrom(source);
  const client = source.includes(':') ? '2001:db8:1::2' : '198.51.100.2';
  await lab.router.exec('ip', 'route', 'replace', source, 'via', client);
  await expectSame(vip, await newFlows(vip, 5));
  expect(await dropped()).toBe(0);
  expect(await direct.audit(signal)).toBe(0);
});
