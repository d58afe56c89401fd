import { expect, test } from 'vitest';
import { addressOf, listener, node as tableNode, nodeName, tableOf } from '../../../test/make/table.ts';
import { serveVips } from '../../../test/netns/direct-lab.ts';
import { sendFrames } from '../../../test/netns/frames.ts';
import { patience } from '../../../test/netns/patience.ts';
import {
  connect,
  direct,
  expectAlive,
  heldByHaproxy,
  lab,
  lanVip,
  nodes,
  port,
  program,
  reached,
  startDirect,
  underClients,
} from '../../../test/netns/stand-in-rig.ts';
import { parseRange } from '../../core/ip/range.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import { tcpFrame } from './probes/probe-frames.ts';

const { signal } = new AbortController();

test.each([
  ['203.0.113.20', false],
  ['2001:db8:f::20', false],
  [lanVip, true],
] as const)(
  'from HAProxy to direct and back on %s (affinity: %s), no connection fails, and none is cut',
  async (address, isAffine) => {
    const onHaproxy = listener(address, port, port);
    const onDirect = listener(address, port, port, {
      dataplane: 'direct',
      standIn: 'haproxy',
      isAffine,
      isPublished: true,
    });
    nodes.areOpen = false;
    await program(onHaproxy);
    const before = await reached();
    const long = [await connect(address), await connect(address), await connect(address)];
    const last = async (): Promise<void> => {
      for (let count = 0; count < 10; count++) await expectAlive(long);
    };
    const { opened, failed } = await underClients(address, async () => {
      await program(onDirect);
      await last();
      expect(await reached()).toBe(before);
      expect(direct.isForwarding(onDirect.key)).toBe(false);
      for (const node of lab.nodes) await serveVips(node, [address], port); // kube-proxy has synced
      nodes.areOpen = true;
      await direct.audit(signal);
      await last();
      await expect.poll(() => heldByHaproxy(onDirect), patience).toBe(3);
      expect(await reached()).toBeGreaterThan(before);
      long.push(await connect(address), await connect(address));
      startDirect();
      await program(onDirect);
      await last();
      await program(onHaproxy);
      long.push(await connect(address));
      await expect.poll(() => heldByHaproxy(onDirect), patience).toBeGreaterThanOrEqual(4);
      await last();
      startDirect();
      await program(onHaproxy);
      await last();
      await program(onDirect);
      await last();
      expect(await heldByHaproxy(onDirect)).toBeGreaterThanOrEqual(4);
    });
    expect(failed).toEqual([]);
    expect(opened).toBeGreaterThan(20);
    await last();
  },
);

test.each(['203.0.113.21', '2001:db8:f::21'])(
  'a listener on %s whose last node is gone has new connections at HAProxy, and those at nodes stay',
  async (address) => {
    const onDirect = listener(address, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
    for (const node of lab.nodes) await serveVips(node, [address], port);
    nodes.areOpen = true;
    await program(onDirect);
    const atNode = await connect(address);
    await expectAlive([atNode]);
    expect(await heldByHaproxy(onDirect)).toBe(0);
    nodes.areOpen = false;
    await direct.audit(signal);
    const atHaproxy = await connect(address);
    expect(await heldByHaproxy(onDirect)).toBe(1);
    nodes.areOpen = true;
    await direct.audit(signal);
    await expectAlive([atNode, atHaproxy]);
    const listing = (): Promise<string> =>
      lab.balancer.exec('nft', 'list', 'set', 'netdev', 'furiwake', address.includes(':') ? 'held6' : 'held4');
    expect(await listing()).toContain('elements');
    await lab.client.ask({ do: 'hangUp', id: atHaproxy });
    await expect.poll(() => heldByHaproxy(onDirect), patience).toBe(0);
    await direct.audit(signal);
    expect(await listing()).not.toContain('elements');
    await expectAlive([atNode]);
  },
);

test.each([
  ['203.0.113.27', '192.0.2.99', '192.0.2.12', '192.0.2.130', ['198.51.100.0/24', '192.0.2.0/25']],
  ['2001:db8:f::27', '2001:db8::99', '2001:db8::12', '2001:db8::1:99', ['2001:db8:1::/64', '2001:db8::/112']],
])(
  'while HAProxy has connections of a listener on %s, a SYN from %s reaches a node, but not one from a node, %s, or from outside the source ranges, %s',
  async (address, possible, impossible, outside, ranges) => {
    const sourceRanges = ranges.flatMap((text) => parseRange(text) ?? []);
    const onDirect = listener(address, port, port, {
      dataplane: 'direct',
      standIn: 'haproxy',
      isPublished: true,
      sourceRanges,
    });
    const unreadable = { clientsOf: async () => Promise.reject(new Error('ss: timed out after 10000 ms')) };
    for (const more of [{}, { host: unreadable }]) {
      startDirect(more);
      nodes.areOpen = false;
      await program(listener(address, port, port, { sourceRanges }));
      const held = await connect(address);
      for (const node of lab.nodes) await serveVips(node, [address], port);
      nodes.areOpen = true;
      await program(onDirect);
      await direct.audit(signal);
      expect(await heldByHaproxy(onDirect)).toBe(1);
      const mac = (await lab.router.device('lan')).mac;
      const to = { mac: (await lab.balancer.device('eth0')).mac, address: addressOf(address), port };
      const before = await reached();
      for (const source of [impossible, outside, possible])
        await sendFrames(lab.router, 'lan', [tcpFrame('syn', { mac, address: addressOf(source), port: 1_234 }, to)]);
      await expect.poll(reached, patience).toBe(before + 1);
      await expectAlive([held]);
      await lab.client.ask({ do: 'hangUp', id: held });
      await expect.poll(() => heldByHaproxy(onDirect), patience).toBe(0);
    }
    startDirect();
  },
);

test.each(['203.0.113.28', '2001:db8:f::28'])(
  'while a Service has no endpoint, the host refuses new connections to %s, and those at nodes stay',
  async (address) => {
    const onDirect = listener(address, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
    for (const node of lab.nodes) await serveVips(node, [address], port);
    nodes.areOpen = true;
    await program(onDirect);
    const atNode = await connect(address);
    await expectAlive([atNode]);
    await program(onDirect, { hasEndpoints: false });
    const before = await reached();
    for (let count = 0; count < 20; count++) await expect(connect(address)).rejects.toThrow('ECONNREFUSED');
    expect((await reached()) - before).toBeLessThan(5); // the connection at a node may acknowledge what it got
    await expectAlive([atNode]);
    await program(onDirect);
    await expectAlive([atNode, await connect(address)]);
    expect(await heldByHaproxy(onDirect)).toBe(0);
  },
);

test("what the host itself opens is always HAProxy's", async () => {
  const onDirect = listener(lanVip, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
  nodes.areOpen = true;
  await program(onDirect);
  expect(direct.isForwarding(onDirect.key)).toBe(true);
  const { id = 0 } = await lab.balancer.ask({ do: 'dial', address: lanVip, port });
  await expect.poll(async () => (await lab.balancer.ask({ do: 'heard', id })).text, patience).toMatch(/^n\d /);
});

test('a listener that needs a proof is left to HAProxy until the nodes are shown to answer; one that does not is not', async () => {
  const more = { dataplane: 'direct', standIn: 'haproxy', isPublished: true } as const;
  const automatic = listener('203.0.113.22', port, port, { ...more, needsProof: true });
  const requested = listener('203.0.113.22', port, port, more);
  [nodes.areOpen, nodes.areProven] = [true, false];
  const states: unknown[] = [];
  for (const each of [automatic, requested]) {
    await program(each);
    states.push([direct.isForwarding(each.key), direct.obstacles().get(nodeName('n1'))?.[4]]);
  }
  nodes.areProven = true;
  await program(automatic);
  expect(states).toEqual([
    [false, 'unheard'],
    [true, undefined],
  ]);
  expect(direct.isForwarding(automatic.key)).toBe(true);
  expect(direct.obstacles()).toEqual(new Map());
});

test('a Pod with an address of its own is served by HAProxy, by way of its node, while that stands in', async () => {
  const pod = '10.244.1.9';
  const [home] = lab.nodes;
  if (home === undefined) throw new Error('the lab has no nodes');
  const onDirect = listener(lanVip, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
  nodes.areOpen = false;
  await program(onDirect);
  await home.exec('ip', 'address', 'add', `${pod}/32`, 'dev', 'lo');
  await home.exec('ip', 'route', 'replace', lanVip, 'dev', 'eth0', 'src', pod);
  await lab.balancer.exec('ip', 'route', 'replace', pod, 'via', home.ip4);
  const { id = 0 } = await home.ask({ do: 'dial', address: lanVip, port });
  await expect.poll(async () => (await home.ask({ do: 'heard', id })).text, patience).toMatch(/^n\d /);
  await home.exec('ip', 'route', 'del', lanVip);
});

test('a listener that gets its stand-in late keeps the connections at its nodes, then and when it goes to HAProxy', async () => {
  const address = '203.0.113.24';
  const onDirect = listener(address, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
  for (const node of lab.nodes) await serveVips(node, [address], port);
  nodes.areOpen = true;
  await program({ ...onDirect, standIn: undefined });
  const atNodes = [await connect(address), await connect(address)];
  await expectAlive(atNodes);
  const { failed } = await underClients(address, async () => {
    await program(onDirect);
    await expectAlive(atNodes);
    expect(await heldByHaproxy(onDirect)).toBe(0);
  });
  expect(failed).toEqual([]);
  nodes.areOpen = false;
  await direct.audit(signal);
  const atHaproxy = await connect(address);
  expect(await heldByHaproxy(onDirect)).toBe(1);
  await expectAlive([...atNodes, atHaproxy]);
  await program(listener(address, port, port));
  await expectAlive([...atNodes, atHaproxy]);
});

test('connections of HAProxy continue when nodes open and close while they cannot be read', async () => {
  const address = '203.0.113.30';
  const onDirect = listener(address, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
  for (const node of lab.nodes) await serveVips(node, [address], port);
  nodes.areOpen = false;
  await program(listener(address, port, port));
  const atHaproxy = await connect(address);
  startDirect({ host: { clientsOf: async () => Promise.reject(new Error('ss: timed out after 10000 ms')) } });
  nodes.areOpen = true;
  await program(onDirect);
  const atNode = await connect(address);
  expect(await heldByHaproxy(onDirect)).toBe(1);
  await expectAlive([atHaproxy, atNode]);
  nodes.areOpen = false;
  await direct.audit(signal);
  expect(direct.isForwarding(onDirect.key)).toBe(false);
  await expectAlive([atHaproxy, atNode]);
});

test('while the kernel lacks what the table needs, HAProxy serves, and only a listener without a stand-in is refused', async () => {
  const address = '203.0.113.25';
  const automatic = listener(address, port, port, {
    dataplane: 'direct',
    standIn: 'haproxy',
    isPublished: true,
    needsProof: true,
  });
  const alone = listener(address, port + 1, 0, { dataplane: 'direct', isPublished: true });
  for (const each of lab.nodes) await serveVips(each, [address], port);
  [nodes.areOpen, nodes.areProven] = [true, true];
  await direct.remove(signal);
  const { execPort } = lab.balancer;
  let lacksForwarding = true; // NFT_FWD_NETDEV
  const exec: Exec = {
    ...execPort,
    run: async (file, args, options) => {
      if (lacksForwarding && options.stdin?.includes('fwd ip to') === true)
        throw new ExecError('nft', 1, 'Error: Could not process rule: No such file or directory');
      return await execPort.run(file, args, options);
    },
  };
  startDirect({ exec });
  await program(automatic);
  expect(direct.isForwarding(automatic.key)).toBe(false);
  expect(direct.obstacles().get(nodeName('n1'))).toEqual({ 4: 'noTable', 6: 'noTable' });
  const atHaproxy = await connect(address);
  expect(await heldByHaproxy(automatic)).toBe(1);
  const refusals = await direct.apply(
    tableOf(
      [automatic, alone],
      lab.nodes.map(({ name, ip4 }) => tableNode(name, ip4)),
    ),
    signal,
  );
  expect([...refusals]).toEqual([[alone.key, 'nft: Error: Could not process rule: No such file or directory']]);
  expect((await direct.counters(signal)).size).toBe(0);
  lacksForwarding = false; // modprobe
  await direct.audit(signal);
  await program(automatic);
  expect(direct.isForwarding(automatic.key)).toBe(true);
  expect(direct.obstacles().size).toBe(0);
  await expectAlive([atHaproxy, await connect(address)]);
  expect(await heldByHaproxy(automatic)).toBe(1);
  lacksForwarding = true; // for a moment only: the table with its flows stays
  startDirect({ exec });
  await expect(program(automatic)).rejects.toThrow('No such file or directory');
  expect(await lab.balancer.exec('nft', 'list', 'table', 'netdev', 'furiwake')).toContain('fwd ip to');
});
