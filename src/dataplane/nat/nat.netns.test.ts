import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { dns, type NatRig, otherNodePort, startNatRig } from '../../../test/netns/nat-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { parseRange } from '../../core/ip/range.ts';

/*
 * The adapter on a real kernel: a client, the host, and three nodes that answer on a nodePort.
 */
const { signal } = new AbortController();
/** One that the host has, and one that is only routed to it, of each family. */
const vips = ['10.50.0.1', 'fd50::1', '10.50.0.9', 'fd50::9'] as const;
let rig: NatRig;

beforeAll(async () => {
  rig = await startNatRig();
});
afterAll(() => rig?.[Symbol.asyncDispose]());
beforeEach(async () => {
  rig.drained.clear();
  rig.excluded.clear();
  await rig.apply(...vips.map((vip) => dns(vip)));
});
afterEach(async () => {
  for (const { name } of rig.lab.nodes) rig.setSilent(name, undefined);
});

const nodesOf = (flows: ReadonlyMap<number, string>): readonly string[] => [...new Set(flows.values())].toSorted();
const all = ['n1', 'n2', 'n3'];

/** Where the flows are now. */
async function again(vip: string, flows: ReadonlyMap<number, string>): Promise<ReadonlyMap<number, string>> {
  const found = new Map<number, string>();
  for (const port of flows.keys()) found.set(port, await rig.nodeOf(vip, port));
  return found;
}

const without = (flows: ReadonlyMap<number, string>, name: string): ReadonlyMap<number, string> =>
  new Map([...flows].filter(([, node]) => node !== name));

describe.each(vips)('UDP to %s', (vip) => {
  test('flows go over all nodes, and each stays at its node', async () => {
    const flows = await rig.newFlows(vip, 30);
    expect(nodesOf(flows)).toEqual(all);
    expect(await again(vip, flows)).toEqual(flows);
  });

  test('a node that drains keeps its flows and gets no new ones', async () => {
    const flows = await rig.newFlows(vip, 20);
    rig.drained.add('n1');
    await rig.apply(...vips.map((each) => dns(each)));
    expect(await again(vip, flows)).toEqual(flows);
    expect(nodesOf(await rig.newFlows(vip, 20))).toEqual(['n2', 'n3']);
  });

  test('a silent node keeps its flows for a while and gets no new ones; then it loses them, and those of others stay', async () => {
    const flows = await rig.newFlows(vip, 20);
    rig.setSilent('n1', 0);
    await rig.apply(...vips.map((each) => dns(each)));
    expect(await again(vip, new Map([...flows].slice(0, 5)))).toEqual(new Map([...flows].slice(0, 5)));
    expect(nodesOf(await rig.newFlows(vip, 5))).not.toContain('n1');
    rig.setSilent('n1', 60_000);
    await expect.poll(async () => nodesOf(await again(vip, flows)), patience).toEqual(['n2', 'n3']);
    expect([...(await again(vip, flows))]).toEqual(expect.arrayContaining([...without(flows, 'n1')]));
    expect(nodesOf(await rig.newFlows(vip, 20))).toEqual(['n2', 'n3']);
  });

  test('an excluded node loses its flows; those of others stay', async () => {
    const flows = await rig.newFlows(vip, 20);
    rig.excluded.add('n2');
    await rig.apply(...vips.map((each) => dns(each)));
    const moved = await again(vip, flows);
    expect(nodesOf(moved)).toEqual(['n1', 'n3']);
    expect([...moved]).toEqual(expect.arrayContaining([...without(flows, 'n2')]));
  });

  test('a flow that began before its Service is translated as soon as that comes', async () => {
    await rig.apply();
    const before = await rig.nodeOf(vip, 19_999);
    expect(before).not.toMatch(/^n/);
    await rig.apply(dns(vip));
    expect(await rig.nodeOf(vip, 19_999)).toMatch(/^n/);
  });

  test('a flow that reached a node before its kube-proxy opened the nodePort is answered after that', async () => {
    const targetPort = 30_060;
    const rules = (body: string): string => `table inet kube-proxy
delete table inet kube-proxy
table inet kube-proxy {
  chain nat {
    type nat hook prerouting priority dstnat
    ${body}
  }
}`;
    for (const node of rig.lab.nodes) await node.nft(rules(''));
    await rig.apply(dns(vip, { targetPort }));
    expect(await rig.nodeOf(vip, 19_998)).toBe('ECONNREFUSED');
    for (const node of rig.lab.nodes) await node.nft(rules(`udp dport ${targetPort} redirect to :30053`));
    await expect.poll(() => rig.nodeOf(vip, 19_998), patience).toMatch(/^n/);
  });

  test('a deleted Service is refused; the next one on the address gets none of its flows', async () => {
    const [[port = 0] = []] = await rig.newFlows(vip, 1);
    await rig.apply();
    expect(await rig.nodeOf(vip, port)).toBe(vip.endsWith('1') ? 'ECONNREFUSED' : 'timeout');
    await rig.apply(dns(vip, { targetPort: otherNodePort }));
    expect(await rig.nodeOf(vip, port)).toMatch(/^n/);
    await vi.waitUntil(async () => !(await entries()).includes('sport=30053'), patience);
  });

  test('without a node a client is refused at once', async () => {
    for (const name of all) rig.excluded.add(name);
    const [[port = 0] = []] = await rig.newFlows(vip, 1);
    await rig.apply(...vips.map((each) => dns(each)));
    expect(await rig.nodeOf(vip, port)).toBe('ECONNREFUSED');
  });

  test('source ranges hold for flows that exist, too', async () => {
    const [[port = 0] = []] = await rig.newFlows(vip, 1);
    const sourceRanges = ['192.0.2.0/24', '2001:db8::/64'].flatMap((text) => parseRange(text) ?? []);
    const ours = (range: { family: number }): boolean => (range.family === 6) === vip.includes(':');
    await rig.apply(dns(vip, { sourceRanges: sourceRanges.filter(ours) }));
    expect(await rig.nodeOf(vip, port)).toBe('timeout');
    const client = ['10.10.0.0/24', 'fd10::/64'].flatMap((text) => parseRange(text) ?? []).filter(ours);
    await rig.apply(dns(vip, { sourceRanges: client }));
    expect(await rig.nodeOf(vip, port)).toMatch(/^n/);
  });

  test('a new process moves no flow', async () => {
    const flows = await rig.newFlows(vip, 10);
    await rig.stop();
    await rig.start();
    await rig.apply(...vips.map((each) => dns(each)));
    expect(await again(vip, flows)).toEqual(flows);
  });
});

test('TCP is served and refused, too', async () => {
  const tcp = dns(vips[0], { protocol: 'TCP' });
  const greeting = async (): Promise<string> => {
    const { id, error } = await rig.lab.client.ask({ do: 'dial', address: vips[0], port: 53 });
    if (id === undefined) return error ?? '';
    const heard = async (): Promise<string> => (await rig.lab.client.ask({ do: 'heard', id })).text ?? '';
    return (await vi.waitUntil(heard, patience)).slice(0, 2);
  };
  await rig.apply(tcp);
  const names = new Set<string>();
  for (let turn = 0; turn < 30; turn++) names.add(await greeting());
  expect([...names].toSorted()).toEqual(all);
  await rig.apply();
  expect(await greeting()).toBe('ECONNREFUSED');
  for (const name of all) rig.excluded.add(name);
  await rig.apply(tcp);
  expect(await greeting()).toBe('ECONNREFUSED');
});

test('a socket of the host itself reaches the nodes', async () => {
  for (const vip of vips.slice(0, 2))
    expect([vip, await rig.nodeOf(vip, 0, 'balancer')]).toEqual([vip, expect.stringMatching(/^n/)]);
});

/** The entries of conntrack on the host, as text. */
async function entries(): Promise<string> {
  return await rig.lab.balancer.exec('conntrack', '-L');
}

test('removal leaves no table and no flow', async () => {
  await rig.newFlows(vips[0], 3);
  await rig.nat().remove(signal);
  expect(await entries()).not.toContain('mark=4096');
  await expect(rig.lab.balancer.exec('nft', 'list', 'table', 'inet', 'furiwake-nat')).rejects.toThrow('No such file');
});
