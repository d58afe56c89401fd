import { afterAll, beforeAll, expect, test } from 'vitest';
import { addressOf } from '../../../../test/make/table.ts';
import { type DirectLab, startDirectLab } from '../../../../test/netns/direct-lab.ts';
import { systemClock } from '../../../main/node/clock.ts';
import { makeMtuProbe, type MeasuredPath } from './mtu-probe.ts';

/*
 * Nodes with the MTU of the LAN, with another one, and some that do not answer.
 */
const { signal } = new AbortController();
let lab: DirectLab;

beforeAll(async () => {
  lab = await startDirectLab({ nodes: 6 });
  // A switch carries every frame.
  const ports = ['lan-l', ...lab.nodes.map(({ name }) => `lan-${name}`), 'lan'];
  for (const port of ports) await lab.router.exec('ip', 'link', 'set', port, 'mtu', '9000');
  const [, smaller, larger, slightlySmaller, mute, withoutFragments] = lab.nodes;
  await smaller?.exec('ip', 'link', 'set', 'eth0', 'mtu', '1400');
  await larger?.exec('ip', 'link', 'set', 'eth0', 'mtu', '9000');
  await slightlySmaller?.exec('ip', 'link', 'set', 'eth0', 'mtu', '1492');
  await mute?.exec('sysctl', '-qw', 'net.ipv4.icmp_echo_ignore_all=1', 'net.ipv6.icmp.echo_ignore_all=1');
  await withoutFragments?.nft(`table inet whole {
  chain early { type filter hook prerouting priority -450; ip frag-off & 0x3fff != 0 drop; exthdr frag exists drop; }
}`);
});
afterAll(() => lab?.[Symbol.asyncDispose]());

async function measure(family: 4 | 6, mtu: number): Promise<readonly unknown[]> {
  const { balancer, nodes } = lab;
  await balancer.exec('ip', 'link', 'set', 'eth0', 'mtu', String(mtu));
  const link = { ...(await balancer.device('eth0')), address: addressOf(family === 4 ? '192.0.2.2' : '2001:db8::2') };
  const paths = await Promise.all(
    nodes.map(async (node): Promise<MeasuredPath> => ({
      link,
      nodeMac: (await node.device('eth0')).mac,
      nodeAddress: addressOf(family === 4 ? node.ip4 : node.ip6),
    })),
  );
  const found = await makeMtuProbe({ exec: balancer.execPort, clock: systemClock })(paths, signal);
  return paths.map((path) => found.get(path));
}

const larger = { least: 1_501, most: undefined, lan: 1_500 };

test('over IPv4, a node with another MTU is found; one that does not answer is not', async () => {
  const [smaller, slightlySmaller] = [
    { least: 1_396, most: 1_403, lan: 1_500 },
    { least: 1_492, most: 1_499, lan: 1_500 },
  ];
  expect(await measure(4, 1_500)).toEqual(['equal', smaller, larger, slightlySmaller, undefined, undefined]);
});

test('over IPv6, too', async () => {
  const [smaller, slightlySmaller] = [
    { least: 1_400, most: 1_407, lan: 1_500 },
    { least: 1_488, most: 1_495, lan: 1_500 },
  ];
  expect(await measure(6, 1_500)).toEqual(['equal', smaller, larger, slightlySmaller, undefined, undefined]);
});

test('on a LAN of jumbo frames, the usual MTU is found', async () => {
  const [usual] = await measure(4, 9_000);
  expect(usual).toEqual({ least: 1_500, most: 1_507, lan: 9_000 });
  expect((await measure(6, 9_000))[2]).toBe('equal');
});
