import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { parseRange } from '../../core/ip/range.ts';
import { hostBackend } from '../../core/traffic/host-pods.ts';
import type { Listener } from '../../core/traffic/table.ts';
import { type NatRig, startNatRig } from '../../../test/netns/nat-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { sctpInit } from '../../../test/netns/sctp-init.ts';
import { addressOf, directListener, nodeName } from '../../../test/make/table.ts';

/*
 * Connections of the host itself to listeners that only `direct` serves: each node has a Pod of its name, to which the host has a route.
 */
const { signal } = new AbortController();
const podPort = 8053;
const all = ['n1', 'n2', 'n3'];
const vips = ['10.50.0.1', 'fd50::1'] as const;
let rig: NatRig;

beforeAll(async () => {
  rig = await startNatRig();
  await rig.lab.balancer.exec('sysctl', '-qw', 'net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0');
  for (const [index, node] of rig.lab.nodes.entries()) {
    await node.ask({ do: 'serveUdp', port: podPort, body: node.name });
    await node.ask({ do: 'serveLines', port: podPort, greeting: `${node.name} ` });
    await node.exec('ip', 'address', 'add', `10.244.${index + 1}.7/32`, 'dev', 'lo');
    await node.exec('ip', 'address', 'add', `fd24:${index + 1}::7/128`, 'dev', 'lo', 'nodad');
    // Answers to datagrams come from the Pod.
    await node.exec('ip', 'route', 'add', '10.20.0.1', 'dev', 'eth0', 'src', `10.244.${index + 1}.7`);
    await node.exec('ip', 'route', 'add', 'fd20::1', 'dev', 'eth0', 'src', `fd24:${index + 1}::7`);
    await rig.lab.balancer.exec('ip', 'route', 'add', `10.244.${index + 1}.0/24`, 'via', node.ip4);
    await rig.lab.balancer.exec('ip', 'route', 'add', `fd24:${index + 1}::/64`, 'via', node.ip6);
  }
});
afterAll(() => rig?.[Symbol.asyncDispose]());
beforeEach(async () => {
  rig.pods.clear();
  rig.drained.clear();
  await rig.apply();
});

const dns = (vip: string, more: Partial<Listener> = {}): Listener => directListener(vip, 53, more);

/** The table has these listeners, each with the Pods of these nodes. */
async function apply(names: readonly string[], ...listeners: readonly Listener[]): Promise<void> {
  rig.pods.clear();
  for (const each of listeners) {
    const { family } = each.address;
    const id = hostBackend(each);
    if (id === undefined) throw new Error('direct alone serves it');
    const addresses = names.map((name) =>
      addressOf(`${family === 4 ? '10.244.' : 'fd24:'}${name.slice(1)}${family === 4 ? '.' : '::'}7`),
    );
    const pods = addresses.map((address, index) => {
      return { address, port: podPort, node: nodeName(names[index] ?? ''), isDraining: false };
    });
    rig.pods.set(id, { family, pods });
  }
  expect(await rig.apply(...listeners)).toEqual(new Map());
}

const dial = async (from: 'balancer' | 'client', address: string): Promise<number | string> => {
  const { id, error } = await rig.lab[from].ask({ do: 'dial', address, port: 53 });
  return id ?? error ?? '';
};
const heard = async (id: number): Promise<string> => (await rig.lab.balancer.ask({ do: 'heard', id })).text ?? '';
const greeting = async (address: string): Promise<string> => {
  const id = await dial('balancer', address);
  return typeof id === 'string' ? id : (await vi.waitUntil(() => heard(id), patience)).slice(0, 2);
};
let nextPort = 33_000;
/** The Pods of datagrams from 60 unused ports, each with their number. */
async function spread(vip: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let turn = 0; turn < 60; turn++) {
    const name = await rig.nodeOf(vip, nextPort++, 'balancer');
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

test.each(vips)('UDP to %s reaches each of the Pods about as often, and is refused without a Pod', async (vip) => {
  await apply(all, dns(vip));
  const counts = await spread(vip);
  expect(Object.keys(counts).toSorted()).toEqual(all);
  for (const count of Object.values(counts)) expect(count).toBeGreaterThan(8);
  await apply([], dns(vip));
  expect(await rig.nodeOf(vip, 0, 'balancer')).toBe('ECONNREFUSED');
});

test.each(vips)('TCP to %s reaches the Pods; a client elsewhere does not', async (vip) => {
  const tcp = dns(vip, { protocol: 'TCP' });
  await apply(all, tcp);
  const names = new Set<string>();
  for (let turn = 0; turn < 30; turn++) names.add(await greeting(vip));
  expect([...names].toSorted()).toEqual(all);
  expect(await dial('client', vip)).toBe('ECONNREFUSED');
  expect(await rig.lab.balancer.exec('sysctl', '-n', 'net.ipv4.ip_forward')).toBe('0\n');
  await apply([], tcp);
  expect(await greeting(vip)).toBe('ECONNREFUSED');
});

test.each(vips)('SCTP to %s reaches a Pod', async (vip) => {
  await apply(['n2'], dns(vip, { protocol: 'SCTP' }));
  const [, node] = rig.lab.nodes;
  await node?.nft(`table inet count
delete table inet count
table inet count {
  chain arrive { type filter hook prerouting priority raw; sctp dport ${podPort} counter; }
}`);
  await rig.lab.balancer.exec('perl', '-e', sctpInit, vip, '53');
  await expect
    .poll(
      async () => Number(/packets (\d+)/.exec((await node?.exec('nft', 'list', 'table', 'inet', 'count')) ?? '')?.[1]),
      patience,
    )
    .toBe(1);
});

test('a Pod that leaves gets no new connection, and its flows of UDP move; a connection of TCP to another one stays', async () => {
  const [udp, tcp] = [dns(vips[0]), dns(vips[0], { protocol: 'TCP' })];
  await apply(all, udp, tcp);
  const ports = Array.from({ length: 20 }, (_, index) => 31_000 + index);
  const before = new Map<number, string>();
  for (const port of ports) before.set(port, await rig.nodeOf(vips[0], port, 'balancer'));
  expect(new Set(before.values()).size).toBe(3);
  let id: number | string = '';
  for (let name = ''; name !== 'n1';) {
    id = await dial('balancer', vips[0]);
    if (typeof id === 'string') throw new Error(id);
    const opened = id;
    name = (await vi.waitUntil(() => heard(opened), patience)).slice(0, 2);
  }
  const listed = await rig.lab.balancer.exec('nft', 'list', 'chain', 'inet', 'furiwake-nat', 'own');
  await apply(['n1', 'n3'], udp, tcp);
  for (const [port, name] of before) {
    const now = await rig.nodeOf(vips[0], port, 'balancer');
    expect(name === 'n2' ? ['n1', 'n3'] : [name]).toContain(now);
  }
  for (let turn = 0; turn < 20; turn++) expect(await greeting(vips[0])).not.toBe('n2');
  await rig.lab.balancer.ask({ do: 'say', id: id as number, text: 'on' });
  await vi.waitUntil(async () => (await heard(id as number)).endsWith('on'), patience);
  // Only elements have changed.
  expect(await rig.lab.balancer.exec('nft', 'list', 'chain', 'inet', 'furiwake-nat', 'own')).toBe(listed);
});

test('a Pod on a node that drains or is silent gets no new connection while there are others', async () => {
  rig.drained.add('n1');
  await apply(all, dns(vips[0]));
  expect(Object.keys(await spread(vips[0])).toSorted()).toEqual(['n2', 'n3']);
  rig.setSilent('n2', 1_000);
  await apply(all, dns(vips[0]));
  expect(Object.keys(await spread(vips[0]))).toEqual(['n3']);
  const flow = 32_100;
  rig.setSilent('n2', undefined);
  await apply(['n2'], dns(vips[0]));
  expect(await rig.nodeOf(vips[0], flow, 'balancer')).toBe('n2');
  rig.setSilent('n2', 60_000);
  await apply(all, dns(vips[0]));
  expect(await rig.nodeOf(vips[0], flow, 'balancer')).toBe('n3');
  rig.setSilent('n2', undefined);
});

test('with affinity the host has one Pod', async () => {
  await apply(all, dns(vips[0], { isAffine: true }));
  expect(Object.keys(await spread(vips[0]))).toHaveLength(1);
});

test.each([
  ['10.10.0.2/32', /timeout/],
  ['10.10.0.0/24', /^n/],
])('source ranges hold: %s', async (range, found) => {
  await apply(all, dns(vips[0], { sourceRanges: [range].flatMap((text) => parseRange(text) ?? []) }));
  expect(await rig.nodeOf(vips[0], 0, 'balancer')).toMatch(found);
});

test('what another program changes is restored', async () => {
  await apply(all, dns(vips[0]));
  await rig.lab.balancer.nft('flush map inet furiwake-nat pods4');
  expect(await rig.nat().audit(signal)).toBeLessThanOrEqual(1);
  await expect.poll(() => rig.nodeOf(vips[0], 0, 'balancer'), patience).toMatch(/^n/);
});

test('another process takes the table over, and the next Service gets none of the flows', async () => {
  await apply(all, dns(vips[0]));
  const name = await rig.nodeOf(vips[0], 32_000, 'balancer');
  await rig.stop();
  await rig.start();
  await apply(all, dns(vips[0]));
  expect(await rig.nodeOf(vips[0], 32_000, 'balancer')).toBe(name);
  const next = dns(vips[0], { service: 'test/next' as never });
  const others = all.filter((each) => each !== name);
  await apply(others, next);
  expect(others).toContain(await rig.nodeOf(vips[0], 32_000, 'balancer'));
});
