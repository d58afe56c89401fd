import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { dns, type NatRig, otherNodePort, startNatRig } from '../../../test/netns/nat-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { localTable, node, tableOf } from '../../../test/make/table.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { parseRange } from '../../core/ip/range.ts';
import { serviceKey } from '../../core/model/names.ts';
import { localBackend } from '../../core/traffic/table.ts';
import type { Exec } from '../../ports/exec.ts';
import { tryConntrack } from './flows.ts';

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
  rig.breakConntrack(false);
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
  new Map([...flows].filter(([, each]) => each !== name));

test('a backend without nodes refuses its flows, whatever the others have', async () => {
  const listeners = ['10.50.0.11', '10.50.0.12', '10.50.0.13', '10.50.0.14'].map((vip) => {
    const service = serviceKey('test', vip);
    return dns(vip, { service, backend: localBackend(4, service) });
  });
  const nodeNames = ['n1', 'n2', undefined, 'n3'];
  const wanted = localTable(
    listeners.map((each, index) => [each, nodeNames[index] === undefined ? {} : { [nodeNames[index]]: 1 }] as const),
    rig.lab.nodes.map(({ name, ip4, ip6 }) => node(name, ip4, ip6)),
  );
  await rig.nat().apply(wanted, signal);
  const answers = await Promise.all(listeners.map(({ address }) => rig.nodeOf(address.text, 0)));
  expect(answers).toEqual(['n1', 'n2', 'ECONNREFUSED', 'n3']);
});

describe.each(vips)('UDP to %s', (vip) => {
  test.each([false, true])(
    'a flow that has seen the group of before a transaction, and the slots of after it, gets a node (affinity: %s)',
    async (isAffine) => {
      await rig.apply(...vips.map((each) => dns(each, { isAffine })));
      const family = vip.includes(':') ? 6 : 4;
      const chain = isAffine ? `settle${family}` : `send${family}`;
      await rig.lab.balancer.nft(`insert rule inet furiwake-nat ${chain} meta priority set 0xfffe`); // no group has this number
      const count = isAffine ? 1 : all.length;
      const nodes = nodesOf(await rig.newFlows(vip, 20));
      expect(nodes).toHaveLength(count);
      expect(all).toEqual(expect.arrayContaining([...nodes]));
      await rig.nat().audit(signal);
    },
  );

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

  test.each([false, true])(
    'a listener that drains keeps its flows and refuses new ones (affinity: %s)',
    async (isAffine) => {
      await rig.apply(...vips.map((each) => dns(each, { isAffine })));
      const flows = await rig.newFlows(vip, 5);
      await rig.apply(...vips.map((each) => dns(each, { isAffine, isDraining: true })));
      expect(await again(vip, flows)).toEqual(flows);
      expect(nodesOf(await rig.newFlows(vip, 3))).toEqual(['ECONNREFUSED']);
      await rig.apply(...vips.map((each) => dns(each, { isAffine })));
      expect(nodesOf(await rig.newFlows(vip, 3)).every((name) => all.includes(name))).toBe(true);
    },
  );

  test('a listener without endpoints keeps its flows and refuses new ones here, not at a node', async () => {
    const flows = await rig.newFlows(vip, 5);
    const listener = dns(vip);
    const nodes = rig.lab.nodes.map(({ name, ip4, ip6 }) => node(name, ip4, ip6));
    const wanted = tableOf([listener], nodes);
    await rig.nat().apply({ ...wanted, withoutEndpoints: PersistentMap.from([[listener.key, listener.uid]]) }, signal);
    expect(await again(vip, flows)).toEqual(flows);
    expect(nodesOf(await rig.newFlows(vip, 3))).toEqual(['ECONNREFUSED']);
    await rig.nat().apply(wanted, signal);
    expect(nodesOf(await rig.newFlows(vip, 3)).every((name) => all.includes(name))).toBe(true);
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

  test('a deleted Service is refused; the next one on the address gets none of its flows', async () => {
    const [[port = 0] = []] = await rig.newFlows(vip, 1);
    await rig.apply();
    expect(await rig.nodeOf(vip, port)).toBe(vip.endsWith('1') ? 'ECONNREFUSED' : 'timeout');
    await rig.apply(dns(vip, { targetPort: otherNodePort }));
    expect(await rig.nodeOf(vip, port)).toMatch(/^n/);
    await expect.poll(translated, patience).not.toContain('sport=30053');
  });

  test('while conntrack cannot be asked, a flow of a deleted Service gets no answer, also when the next one has its nodePort', async () => {
    const [[port = 0] = []] = await rig.newFlows(vip, 1);
    rig.breakConntrack(true);
    expect(await rig.apply()).toEqual(new Map());
    const gone = vip.endsWith('1') ? 'ECONNREFUSED' : 'timeout';
    expect(await rig.nodeOf(vip, port)).toBe(gone);
    const next = dns(vip, { service: serviceKey('test', 'next') });
    expect([...(await rig.apply(next)).keys()]).toEqual([next.key]);
    expect(await entries()).toContain(`sport=${port}`);
    rig.breakConntrack(false);
    await vi.waitUntil(async () => !(await entries()).includes(`sport=${port}`), patience);
    await rig.apply();
    expect(await rig.apply(next)).toEqual(new Map());
    expect(await rig.nodeOf(vip, port)).toMatch(/^n/);
  });

  test('while conntrack cannot be asked, a flow at a former nodePort gets no answer, and new ones do', async () => {
    const [[port = 0] = []] = await rig.newFlows(vip, 1);
    rig.breakConntrack(true);
    expect(await rig.apply(dns(vip, { targetPort: otherNodePort }))).toEqual(new Map());
    expect(await rig.nodeOf(vip, port)).toBe('timeout');
    expect(nodesOf(await rig.newFlows(vip, 1))).toHaveLength(1);
    rig.breakConntrack(false);
    await expect.poll(() => rig.nodeOf(vip, port), patience).toMatch(/^n/);
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

/** The entries of conntrack on the host, as text. */
async function entries(): Promise<string> {
  return await rig.lab.balancer.exec('conntrack', '-L');
}

/** Those of `nat`: a late answer of a node makes an entry, too. */
async function translated(): Promise<string> {
  return (await entries())
    .split('\n')
    .filter((line) => line.includes('mark=4096'))
    .join('\n');
}

test('without a listener the table stays until the flows have ended', async () => {
  const hasTable = async (): Promise<boolean> =>
    (await rig.lab.balancer.exec('nft', 'list', 'tables')).includes('furiwake-nat');
  await rig.newFlows(vips[0], 3);
  rig.breakConntrack(true);
  await rig.apply();
  expect(await hasTable()).toBe(true);
  await expect(rig.nat().remove(signal)).rejects.toThrow('Operation not permitted');
  expect(await hasTable()).toBe(true);
  rig.breakConntrack(false);
  await vi.waitUntil(async () => !(await hasTable()), patience);
  expect(await entries()).not.toContain('mark=4096');
});

test('conntrack can be asked, but not without the right to', async () => {
  const { execPort } = rig.lab.balancer;
  await tryConntrack(execPort, signal);
  const dropped = ['--bounding-set=-net_admin', '--inh-caps=-net_admin', '--'];
  const powerless: Exec = {
    ...execPort,
    run: (file, args, options) => execPort.run('setpriv', [...dropped, file, ...args], options),
  };
  await expect(tryConntrack(powerless, signal)).rejects.toThrow('conntrack: Operation not permitted');
});

test('removal leaves no table and no flow', async () => {
  await rig.newFlows(vips[0], 3);
  await rig.nat().remove(signal);
  expect(await entries()).not.toContain('mark=4096');
  await expect(rig.lab.balancer.exec('nft', 'list', 'table', 'inet', 'furiwake-nat')).rejects.toThrow('No such file');
});
