import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { parseRange } from '../../core/ip/range.ts';
import { dns, nodePort, type NatRig, startNatRig } from '../../../test/netns/nat-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { sctpInit } from '../../../test/netns/sctp-init.ts';

/*
 * TCP and SCTP, the host's own connections, and what must not be touched.
 */
const all = ['n1', 'n2', 'n3'];
const vips = ['10.50.0.1', 'fd50::1'] as const;
let rig: NatRig;

beforeAll(async () => {
  rig = await startNatRig();
});
afterAll(() => rig?.[Symbol.asyncDispose]());
beforeEach(async () => {
  rig.excluded.clear();
  await rig.apply();
});

const dial = async (address: string): Promise<number | string> => {
  const { id, error } = await rig.lab.client.ask({ do: 'dial', address, port: 53 });
  return id ?? error ?? '';
};
const heard = async (id: number): Promise<string> => (await rig.lab.client.ask({ do: 'heard', id })).text ?? '';
const greeting = async (address: string): Promise<string> => {
  const id = await dial(address);
  return typeof id === 'string' ? id : (await vi.waitUntil(() => heard(id), patience)).slice(0, 2);
};

test.each(vips)('TCP to %s is served by all nodes, and reset without a Service or a node', async (vip) => {
  const tcp = dns(vip, { protocol: 'TCP' });
  await rig.apply(tcp);
  const names = new Set<string>();
  for (let turn = 0; turn < 30; turn++) names.add(await greeting(vip));
  expect([...names].toSorted()).toEqual(all);
  await rig.apply();
  expect(await greeting(vip)).toBe('ECONNREFUSED');
  for (const name of all) rig.excluded.add(name);
  await rig.apply(tcp);
  expect(await greeting(vip)).toBe('ECONNREFUSED');
});

test('a TCP connection to an excluded node continues', async () => {
  const tcp = dns(vips[0], { protocol: 'TCP' });
  await rig.apply(tcp);
  const id = await dial(vips[0]);
  if (typeof id === 'string') throw new Error(id);
  const name = (await vi.waitUntil(() => heard(id), patience)).slice(0, 2);
  rig.excluded.add(name);
  await rig.apply(tcp);
  await rig.lab.client.ask({ do: 'say', id, text: 'on' });
  await vi.waitUntil(async () => (await heard(id)).endsWith('on'), patience);
  expect(await greeting(vips[0])).not.toBe(name);
});

test('a TCP connection to a node that has been silent for long ends', async () => {
  const tcp = dns(vips[0], { protocol: 'TCP' });
  await rig.apply(tcp);
  const id = await dial(vips[0]);
  if (typeof id === 'string') throw new Error(id);
  const name = (await vi.waitUntil(() => heard(id), patience)).slice(0, 2);
  rig.setSilent(name, 60_000);
  await rig.apply(tcp);
  await rig.lab.client.ask({ do: 'say', id, text: 'on' });
  await expect.poll(async () => (await rig.lab.client.ask({ do: 'heard', id })).end, patience).not.toBe('open');
  rig.setSilent(name, undefined);
});

test('a connection that a socket of the host (of HAProxy) has stays with it when nat takes the port over', async () => {
  const { balancer, client } = rig.lab;
  await rig.apply(dns('10.50.0.9')); // connections are tracked
  await balancer.ask({ do: 'serveLines', port: 53, address: '10.10.0.1', greeting: 'host ' });
  const id = await dial('10.10.0.1');
  if (typeof id === 'string') throw new Error(id);
  await vi.waitUntil(async () => (await heard(id)) === 'host ', patience);
  await rig.apply(dns('10.10.0.1', { protocol: 'TCP' }));
  expect(await greeting('10.10.0.1')).toMatch(/^n/);
  await client.ask({ do: 'say', id, text: 'on' });
  await vi.waitUntil(async () => (await heard(id)) === 'host on', patience);
});

test.each(vips)('a socket of the host itself reaches the nodes by %s', async (vip) => {
  await rig.apply(dns(vip));
  expect(await rig.nodeOf(vip, 0, 'balancer')).toMatch(/^n/);
});

test.each([
  ['10.10.0.2/32', /timeout/],
  ['10.10.0.0/24', /^n/],
])('source ranges hold for the host itself, too: %s', async (range, found) => {
  await rig.apply(dns(vips[0], { sourceRanges: [range].flatMap((text) => parseRange(text) ?? []) }));
  expect(await rig.nodeOf(vips[0], 0)).toMatch(/^n/);
  expect(await rig.nodeOf(vips[0], 0, 'balancer')).toMatch(found);
});

test('other bits in the mark of a connection stay as another program has set them', async () => {
  const { balancer } = rig.lab;
  await rig.apply(dns(vips[0]));
  await balancer.nft(`table inet foreign {
  chain arrive { type filter hook prerouting priority mangle + 5; ct state new ct mark set 0x5; }
}`);
  const [port = 0] = (await rig.newFlows(vips[0], 1)).keys();
  await balancer.nft('delete table inet foreign');
  const listed = await balancer.exec('conntrack', '-L', '-p', 'udp', '--orig-dst', vips[0], '--sport', String(port));
  expect(listed).toContain('mark=4101 '); // 0x1005: with the bit of furiwake
});

test.each(vips)('a listener on %s that drains keeps its flows and refuses new ones', async (vip) => {
  await rig.apply(dns(vip));
  const flows = await rig.newFlows(vip, 5);
  await rig.apply(dns(vip, { isDraining: true }));
  for (const [port, node] of flows) expect([port, await rig.nodeOf(vip, port)]).toEqual([port, node]);
  expect([...(await rig.newFlows(vip, 3)).values()]).toEqual(Array.from({ length: 3 }, () => 'ECONNREFUSED'));
  await rig.apply(dns(vip));
  expect([...(await rig.newFlows(vip, 1)).values()]).toEqual([expect.stringMatching(/^n/)]);
});

test('an answer of a node that arrives at the port of a listener is not judged by the source ranges of that', async () => {
  const ranges = ['10.10.0.0/24'].flatMap((text) => parseRange(text) ?? []);
  await rig.apply(dns(vips[0]), dns('10.20.0.1', { sourceRanges: ranges }));
  expect(await rig.nodeOf(vips[0], 53)).toMatch(/^n/); // masqueraded, the flow keeps its port
});

test('UDP of the host itself stays untouched on its own address, but for the port of a listener', async () => {
  const { balancer, client } = rig.lab;
  await balancer.ask({ do: 'serveUdp', port: 68, body: 'host' });
  await rig.apply(dns('10.10.0.1'));
  const ask = async (port: number): Promise<string | undefined> =>
    (await client.ask({ do: 'askUdp', address: '10.10.0.1', port })).text?.split(' ')[0];
  expect(await ask(68)).toBe('host');
  expect(await ask(53)).toMatch(/^n/);
  // A question of the host from the port of the listener: the answer is the host's.
  const [first] = rig.lab.nodes;
  const call = { do: 'askUdp', address: first?.ip4 ?? '', port: nodePort, localPort: 53 } as const;
  expect((await balancer.ask(call)).text).toBe('n1 10.20.0.1 53');
});

test('a flow that began before its Service is translated as soon as that comes, also by the next process', async () => {
  const { balancer } = rig.lab;
  await balancer.ask({ do: 'serveUdp', port: 53, body: 'host' });
  for (const isNext of [false, true])
    for (const vip of ['10.10.0.1', 'fd10::1']) {
      const localPort = isNext ? 19_998 : 19_999;
      await rig.apply(dns('10.50.0.9'), dns('fd50::9')); // flows are tracked
      expect(await rig.nodeOf(vip, localPort)).toBe('host');
      if (isNext) await rig.stop();
      if (isNext) await rig.start();
      await rig.apply(dns(vip), dns('10.50.0.9'), dns('fd50::9'));
      await expect.poll(() => rig.nodeOf(vip, localPort), { message: vip, ...patience }).toMatch(/^n/);
    }
});

test.each(vips)('an SCTP association to %s is translated to the nodePort of a node', async (vip) => {
  await rig.apply(dns(vip, { protocol: 'SCTP' }));
  for (const node of rig.lab.nodes)
    await node.nft(`table inet count
delete table inet count
table inet count {
  chain arrive { type filter hook prerouting priority raw; sctp dport ${nodePort} counter; }
}`);
  await rig.lab.client.exec('perl', '-e', sctpInit, vip, '53');
  const arrived = async (): Promise<number> => {
    const lists = await Promise.all(rig.lab.nodes.map((node) => node.exec('nft', 'list', 'table', 'inet', 'count')));
    return lists.reduce((sum, list) => sum + Number(/packets (\d+)/.exec(list)?.[1]), 0);
  };
  await expect.poll(arrived, patience).toBe(1);
});
