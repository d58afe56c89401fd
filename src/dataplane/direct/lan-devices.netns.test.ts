import { afterAll, beforeAll, expect, test } from 'vitest';
import { allAnswer } from '../../../test/make/answering-nodes.ts';
import { silent } from '../../../test/make/log.ts';
import { sceneGate } from '../../../test/make/scene-gate.ts';
import { addressOf, directListener, node as tableNode, tableOf } from '../../../test/make/table.ts';
import { type DirectLab, serveVips, startDirectLab } from '../../../test/netns/direct-lab.ts';
import { patience } from '../../../test/netns/patience.ts';
import { recordMetrics } from '../../../test/sim/observers.ts';
import type { Ip } from '../../core/ip/ip.ts';
import { listenerKey } from '../../core/traffic/table.ts';
import { makeHost } from '../../host/host.ts';
import { systemClock } from '../../main/node/clock.ts';
import type { Direct } from '../../ports/direct.ts';
import type { Link } from '../../ports/network.ts';
import { makeDirect } from './direct.ts';

/*
 * A host with two LANs, and LAN devices that are not plain ones: packets of clients arrive on one device, and leave on the one of
 * their node.
 *
 *   client ── router ── LAN 192.0.2.0/24, 2001:db8::/64      ── eth0 balancer, n1
 *                    ── LAN 192.0.3.0/24, 2001:db8:3::/64    ── eth1 balancer, n2
 */
const { signal } = new AbortController();
const vips = ['203.0.113.10', '2001:db8:f::10'] as const;
const served = 5300;
let lab: DirectLab;
let nodes: readonly { readonly name: string; readonly ip4: string; readonly ip6: string }[];

beforeAll(async () => {
  lab = await startDirectLab({ nodes: 2 });
  const { balancer, router } = lab;
  const [n1, n2] = lab.nodes;
  if (n1 === undefined || n2 === undefined) throw new Error('the lab has no nodes');
  const inRouter = (...words: readonly string[]): Promise<string> => router.exec('ip', ...words);
  await inRouter('link', 'add', 'lan2', 'type', 'bridge');
  await inRouter('link', 'set', 'lan-n2', 'master', 'lan2');
  await inRouter('link', 'add', 'lan2-l', 'type', 'veth', 'peer', 'eth1', 'netns', balancer.namespace);
  await inRouter('link', 'set', 'lan2-l', 'master', 'lan2', 'up');
  const setUp = async (machine: typeof router, device: string, host: number): Promise<void> => {
    await machine.exec('ip', 'address', 'add', `192.0.3.${host}/24`, 'dev', device);
    await machine.exec('ip', 'address', 'add', `2001:db8:3::${host}/64`, 'dev', device, 'nodad');
    await machine.exec('ip', 'link', 'set', device, 'up');
  };
  await setUp(router, 'lan2', 1);
  await setUp(balancer, 'eth1', 2);
  for (const family of ['-4', '-6']) await n2.exec('ip', family, 'address', 'flush', 'dev', 'eth0', 'scope', 'global');
  await setUp(n2, 'eth0', 12);
  await n2.exec('ip', 'route', 'replace', 'default', 'via', '192.0.3.1');
  await n2.exec('ip', '-6', 'route', 'replace', 'default', 'via', '2001:db8:3::1');
  const moved = { ...n2, ip4: '192.0.3.12', ip6: '2001:db8:3::12' };
  nodes = [n1, moved];
  for (const node of [n1, moved]) {
    await node.ask({ do: 'serveUdp', port: served, body: node.name });
    await node.ask({ do: 'serveLines', port: served, greeting: `${node.name} ` });
    await serveVips(node, vips, served);
  }
});
afterAll(() => lab?.[Symbol.asyncDispose]());

/** The addresses of the host on a LAN move to another device, which has the same MAC as far as the kernel permits. */
async function moveAddresses(from: string, to: string, lan: '2' | '3'): Promise<void> {
  const { balancer } = lab;
  const ip6 = lan === '2' ? '2001:db8::2' : '2001:db8:3::2';
  await balancer.exec('ip', '-4', 'address', 'flush', 'dev', from);
  await balancer.exec('ip', '-6', 'address', 'flush', 'dev', from, 'scope', 'global');
  await balancer.exec('ip', 'link', 'set', to, 'up');
  await balancer.exec('ip', 'address', 'add', `192.0.${lan}.2/24`, 'dev', to);
  await balancer.exec('ip', 'address', 'add', `${ip6}/64`, 'dev', to, 'nodad');
  if (lan === '3') return;
  await balancer.exec('ip', 'route', 'replace', 'default', 'via', '192.0.2.1');
  await balancer.exec('ip', '-6', 'route', 'replace', 'default', 'via', '2001:db8::1');
}

async function linkNamed(name: string): Promise<Link> {
  return { name, ...(await lab.balancer.device(name)) };
}

/** `direct` with these devices for both LANs, in force. */
async function serveOn(first: string, second: string, needsProof = false): Promise<Direct> {
  const { balancer, router } = lab;
  const links = [await linkNamed(first), await linkNamed(second)] as const;
  for (const machine of [router, ...lab.nodes]) await machine.exec('ip', 'neighbour', 'flush', 'all');
  for (const address of nodes.flatMap(({ ip4, ip6 }) => [ip4, ip6]))
    await balancer.exec('ping', '-c', '1', '-W', '2', address); // resolves its MAC
  const own = ['192.0.2.2', '2001:db8::2'].map(addressOf);
  const direct = makeDirect({
    exec: balancer.execPort,
    host: makeHost({ exec: balancer.execPort, log: silent }),
    health: { verdicts: () => new Map(), subscribe: () => () => undefined },
    silentSince: () => undefined,
    silenceMs: 15_000,
    probe: async () => new Map(),
    idleSeconds: 10_800,
    gate: sceneGate({ isOpen: () => true, isAnswering: () => true }),
    linkOf: ({ text }: Ip) =>
      vips.some((vip) => vip === text) ? undefined : links[/^(192\.0\.3\.|2001:db8:3:)/.test(text) ? 1 : 0],
    answering: allAnswer,
    own: () => new Map(),
    serviceCidrs: () => [],
    primary: () => own,
    clock: systemClock,
    log: silent,
    metrics: recordMetrics(),
    lifetime: signal,
  });
  const listeners = vips.flatMap((vip) =>
    (['TCP', 'UDP'] as const).map((protocol) => directListener(vip, 53, { protocol, isPublished: true, needsProof })),
  );
  const table = tableOf(
    listeners,
    nodes.map(({ name, ip4, ip6 }) => tableNode(name, ip4, ip6)),
  );
  expect(await direct.apply(table, signal)).toEqual(new Map());
  return direct;
}

/** The server of a connection that sends so many bytes and gets them back. */
async function echo(address: string, bytes: number): Promise<string> {
  const { client } = lab;
  const { id = 0, error } = await client.ask({ do: 'dial', address, port: 53 });
  if (error !== undefined) throw new Error(error);
  const heard = async (): Promise<string> => (await client.ask({ do: 'heard', id })).text ?? '';
  await expect.poll(heard, patience).toMatch(/^n\d /);
  const text = Array.from({ length: bytes / 10 }, (_, index) => String(index).padStart(10, '.')).join('');
  await client.ask({ do: 'say', id, text });
  await expect.poll(async () => (await heard()).length, patience).toBe(3 + bytes);
  const all = await heard();
  expect(all.slice(3) === text).toBe(true);
  await client.ask({ do: 'hangUp', id });
  return all.slice(0, 2);
}

async function serversOf(vip: string): Promise<readonly string[]> {
  const found = new Set<string>();
  for (let flow = 0; flow < 16; flow++) {
    const { text, error } = await lab.client.ask({ do: 'askUdp', address: vip, port: 53, timeoutMs: 2_000 });
    found.add(text?.split(' ')[0] ?? error ?? '');
  }
  return [...found].toSorted();
}

/** Who serves each address: UDP, and connections with two megabytes each way at once, in packets that are larger than the MTU (GSO). */
async function servers(direct: Direct): Promise<unknown> {
  const found = [];
  for (const vip of vips) {
    const tcp = new Set<string>();
    for (let flow = 0; flow < 12 && tcp.size < 2; flow++) tcp.add(await echo(vip, 2_000_000));
    const { bytes = 0, packets = 0 } =
      (await direct.counters(signal)).get(listenerKey(addressOf(vip), 53, 'TCP')) ?? {};
    found.push({ udp: await serversOf(vip), tcp: [...tcp].toSorted(), areLarge: bytes / packets > 1_500 });
  }
  return found;
}

const both = vips.map(() => ({ udp: ['n1', 'n2'], tcp: ['n1', 'n2'], areLarge: true }));

test('a node on another LAN device than the client is served, in both directions', async () => {
  const direct = await serveOn('eth0', 'eth1');
  expect(await servers(direct)).toEqual(both);
  await direct.remove(signal);
});

test('a node on the LAN with the smaller MTU is not used, unless the Service requests direct', async () => {
  await lab.balancer.exec('ip', 'link', 'set', 'eth1', 'mtu', '1400');
  const direct = await serveOn('eth0', 'eth1', true);
  const mtu = { least: 1_400, most: 1_400, lan: 1_500 };
  expect(Object.fromEntries(direct.obstacles())).toEqual({ n2: { 4: mtu, 6: mtu } });
  for (const vip of vips) expect(await serversOf(vip)).toEqual(['n1']);
  await direct.remove(signal);
  const requested = await serveOn('eth0', 'eth1');
  for (const vip of vips) expect(await serversOf(vip)).toEqual(['n1', 'n2']);
  await requested.remove(signal);
  await lab.balancer.exec('ip', 'link', 'set', 'eth1', 'mtu', '1500');
});

test('LAN devices may be a bridge and a device on another one, whatever their names mean to nft', async () => {
  const inBalancer = (...words: readonly string[]): Promise<string> => lab.balancer.exec('ip', ...words);
  const { mac } = await linkNamed('eth0');
  await inBalancer('link', 'add', 'bridge', 'address', mac, 'type', 'bridge');
  await inBalancer('link', 'set', 'eth0', 'master', 'bridge');
  await moveAddresses('eth0', 'bridge', '2');
  await inBalancer('link', 'add', '1lan@up', 'link', 'eth1', 'type', 'macvlan', 'mode', 'private');
  await moveAddresses('eth1', '1lan@up', '3');
  const direct = await serveOn('bridge', '1lan@up');
  expect(await servers(direct)).toEqual(both);
  await direct.remove(signal);
});
