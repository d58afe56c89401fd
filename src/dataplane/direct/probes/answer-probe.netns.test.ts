import { afterAll, beforeAll, expect, test } from 'vitest';
import { type DirectLab, serveVips, startDirectLab } from '../../../../test/netns/direct-lab.ts';
import { patience } from '../../../../test/netns/patience.ts';
import { addressOf } from '../../../../test/make/table.ts';
import { systemClock } from '../../../main/node/clock.ts';
import { makeAnswerProbe, type ProbedPath } from './answer-probe.ts';

/*
 * Nodes that answer as kube-proxy does, nodes that do not know the VIP, and a LAN that refuses a foreign source address.
 */
const { signal } = new AbortController();
const vips = ['203.0.113.10', '2001:db8:f::10'] as const;
let lab: DirectLab;

beforeAll(async () => {
  lab = await startDirectLab({ nodes: 3 });
  for (const node of lab.nodes) await node.ask({ do: 'serveLines', port: 5300, greeting: `${node.name} ` });
  for (const node of lab.nodes.slice(0, 2)) await serveVips(node, vips, 5300);
  // As the port security of a virtual switch does: only the node's own addresses may leave it.
  await lab.router.nft(`table bridge security
table bridge security {
  chain forward {
    type filter hook forward priority 0;
    iifname "lan-n2" ip saddr != 192.0.2.12 drop
    iifname "lan-n2" ip6 saddr 2001:db8:f::/64 drop
  }
}`);
});
afterAll(() => lab?.[Symbol.asyncDispose]());

async function pathsTo(vip: string, port: number | undefined): Promise<readonly ProbedPath[]> {
  const isV6 = vip.includes(':');
  const { balancer } = lab;
  const device = await balancer.device('eth0');
  const address = addressOf(isV6 ? '2001:db8::2' : '192.0.2.2');
  return await Promise.all(
    lab.nodes.map(async (node) => ({
      link: { ...device, address },
      nodeAddress: addressOf(isV6 ? node.ip6 : node.ip4),
      nodeMac: (await node.device('eth0')).mac,
      vip: addressOf(vip),
      port,
    })),
  );
}

test.each(vips)('only the node that serves %s, on a LAN that delivers its answer, is shown to answer', async (vip) => {
  const paths = await pathsTo(vip, 53);
  const { answered } = await makeAnswerProbe({ exec: lab.balancer.execPort, clock: systemClock })(paths, signal);
  expect(paths.map((path) => answered.has(path))).toEqual([true, false, false]);
});

test.each(vips)(
  'without a listener, each node that forwards a datagram from %s is shown, if the LAN delivers it',
  async (vip) => {
    const probe = makeAnswerProbe({ exec: lab.balancer.execPort, clock: systemClock });
    const paths = await pathsTo(vip, undefined);
    const { answered } = await probe(paths, signal);
    expect(paths.map((path) => answered.has(path))).toEqual([true, false, true]);
    const forwarding = ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding'];
    await lab.nodes[2]?.exec('sysctl', '-qw', ...forwarding.map((name) => `${name}=0`));
    const { answered: again } = await probe(paths, signal);
    expect(paths.map((path) => again.has(path))).toEqual([true, false, false]);
    await lab.nodes[2]?.exec('sysctl', '-qw', ...forwarding.map((name) => `${name}=1`));
  },
);

test('frames of others that arrive while the probe starts do not concern it', async () => {
  const [node] = lab.nodes;
  const [to, from] = [await lab.balancer.device('eth0'), await node?.device('eth0')];
  const frame = [to.mac, from?.mac, '0806', '0001080006040001', from?.mac, 'c000020b', to.mac, 'c0000202'];
  const flood = String.raw`
socket(my $link, 17, 3, 0) or die "packet socket: $!";
my ($frame, $to) = (pack("H*", shift), pack("SnlSCCx8", 17, 0x0806, shift, 0, 0, 6));
my $end = time + 4;
while (time < $end) { send($link, $frame, 0, $to) for 1 .. 100 }`;
  const flooding = node?.exec('perl', '-e', flood, frame.join('').replaceAll(':', ''), String(from?.index));
  const probe = makeAnswerProbe({ exec: lab.balancer.execPort, clock: systemClock });
  const paths = await pathsTo(vips[0], undefined);
  for (let round = 0; round < 4; round++) expect((await probe(paths, signal)).crossing.size).toBe(0);
  await flooding;
});

test('a node that puts another source on what it forwards is not shown', async () => {
  const [node] = lab.nodes;
  await node?.nft(`table ip hide {
  chain post { type nat hook postrouting priority srcnat; ip saddr 203.0.113.11 masquerade; }
}`);
  const paths = await pathsTo('203.0.113.11', undefined);
  const { answered } = await makeAnswerProbe({ exec: lab.balancer.execPort, clock: systemClock })(paths, signal);
  expect(paths.map((path) => answered.has(path))).toEqual([false, false, true]);
  await node?.nft('delete table ip hide');
});

test.each(vips)('an answer from another MAC than that of the node shows nothing: %s', async (vip) => {
  const [node] = lab.nodes;
  const family = vip.includes(':') ? '-6' : '-4';
  const balancer = vip.includes(':') ? '2001:db8::2' : '192.0.2.2';
  const probe = makeAnswerProbe({ exec: lab.balancer.execPort, clock: systemClock });
  const answers = async (port: number | undefined): Promise<boolean> => {
    const [path] = await pathsTo(vip, port);
    return path !== undefined && (await probe([path], signal)).answered.has(path);
  };
  await node?.exec('ip', 'link', 'add', 'second', 'link', 'eth0', 'type', 'macvlan', 'mode', 'bridge');
  await node?.exec('ip', 'link', 'set', 'second', 'up');
  await node?.exec('ip', family, 'route', 'add', balancer, 'dev', 'second');
  for (const port of [53, undefined]) expect(await answers(port)).toBe(false);
  await node?.exec('ip', 'link', 'delete', 'second');
  for (const port of [53, undefined]) expect(await answers(port)).toBe(true);
});

test.each(vips)('a node whose gateway is this host is found, and no far datagram leaves the LAN: %s', async (vip) => {
  const [node] = lab.nodes;
  await lab.router.nft(`table inet far
delete table inet far
table inet far {
  chain forward { type filter hook forward priority 0; oifname "wan" ip daddr 198.18.0.0/15 counter; oifname "wan" ip6 daddr 2001:2::/48 counter; }
}`);
  const family = vip.includes(':') ? '-6' : '-4';
  const setGateway = async (gateway: string): Promise<void> =>
    void (await node?.exec('ip', family, 'route', 'replace', 'default', 'via', gateway));
  const probe = makeAnswerProbe({ exec: lab.balancer.execPort, clock: systemClock });
  const found = async (port: number | undefined): Promise<readonly unknown[]> => {
    const [paths] = [await pathsTo(vip, port)];
    const { answered, crossing } = await probe(paths, signal);
    return [answered.has(paths[0] as ProbedPath), ...paths.map((path) => crossing.has(path))];
  };
  for (const port of [53, undefined]) {
    await setGateway(vip.includes(':') ? '2001:db8::2' : '192.0.2.2');
    expect(await found(port)).toEqual([true, true, false, false]);
    await setGateway(vip.includes(':') ? '2001:db8::1' : '192.0.2.1');
    expect(await found(port)).toEqual([true, false, false, false]);
  }
  expect(await lab.router.exec('nft', 'list', 'table', 'inet', 'far')).not.toMatch(/packets [1-9]/);
});

test('the probe ends the connection that it opened: a Pod accepts none that continues', async () => {
  const [path] = await pathsTo(vips[0], 53);
  if (path === undefined) throw new Error('the lab has no nodes');
  await makeAnswerProbe({ exec: lab.balancer.execPort, clock: systemClock })([path], signal);
  const sockets = (): Promise<string> =>
    lab.nodes[0]?.exec('ss', '-Htn', 'state', 'syn-recv', 'state', 'established', 'sport = :5300') ??
    Promise.resolve('');
  await expect.poll(sockets, patience).toBe('');
});

test('a host without perl says so', async () => {
  const exec = {
    ...lab.balancer.execPort,
    spawn: (_file: string, args: readonly string[], end: AbortSignal) =>
      lab.balancer.execPort.spawn('false', args, end),
  };
  await expect(makeAnswerProbe({ exec, clock: systemClock })(await pathsTo(vips[0], 53), signal)).rejects.toThrow(
    'perl',
  );
});
