import { expect, test } from 'vitest';
import { listener, nodeName } from '../../../test/make/table.ts';
import { arrivals, serveVips } from '../../../test/netns/direct-lab.ts';
import { patience } from '../../../test/netns/patience.ts';
import {
  connect,
  direct,
  expectAlive,
  heldByHaproxy,
  lab,
  lanVip,
  nodesAre,
  port,
  program,
  startDirect,
} from '../../../test/netns/stand-in-rig.ts';

/* The dataplane of a listener changes while clients hold connections, and open new ones all the time. */
const { signal } = new AbortController();

/** Opens connections all the time until `work` ends; resolves with their number and the failures. */
async function underClients(address: string, work: () => Promise<void>): Promise<{ opened: number; failed: string[] }> {
  const over = new AbortController();
  const result = { opened: 0, failed: [] as string[] };
  const client = async (): Promise<void> => {
    while (!over.signal.aborted)
      try {
        const id = await connect(address);
        await expectAlive([id]);
        await lab.client.ask({ do: 'hangUp', id });
        result.opened++;
      } catch (error) {
        result.failed.push(String(error));
      }
  };
  const clients = Promise.all([client(), client(), client()]);
  try {
    await work();
  } finally {
    over.abort();
    await clients;
  }
  return result;
}

/** Packets to the addresses that have reached the nodes. */
async function reached(): Promise<number> {
  const counts = await Promise.all(lab.nodes.map(arrivals));
  return counts.reduce((sum, count) => sum + count, 0);
}

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
    nodesAre.open = false;
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
      nodesAre.open = true;
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
      await program(onDirect);
      await last();
      expect(await heldByHaproxy(onDirect)).toBeGreaterThanOrEqual(4);
    });
    expect(failed).toEqual([]);
    expect(opened).toBeGreaterThan(20);
    await last();
  },
  60_000,
);

test.each(['203.0.113.21', '2001:db8:f::21'])(
  'a listener on %s whose last node is gone has new connections at HAProxy, and those at nodes stay',
  async (address) => {
    const onDirect = listener(address, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
    for (const node of lab.nodes) await serveVips(node, [address], port);
    nodesAre.open = true;
    await program(onDirect);
    const atNode = await connect(address);
    await expectAlive([atNode]);
    expect(await heldByHaproxy(onDirect)).toBe(0);
    nodesAre.open = false;
    await direct.audit(signal);
    const atHaproxy = await connect(address);
    expect(await heldByHaproxy(onDirect)).toBe(1);
    nodesAre.open = true;
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

test("what the host itself opens is always HAProxy's", async () => {
  const onDirect = listener(lanVip, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
  nodesAre.open = true;
  await program(onDirect);
  expect(direct.isForwarding(onDirect.key)).toBe(true);
  const { id = 0 } = await lab.balancer.ask({ do: 'dial', address: lanVip, port });
  await expect.poll(async () => (await lab.balancer.ask({ do: 'heard', id })).text, patience).toMatch(/^n\d /);
});

test('a listener that needs a proof is left to HAProxy until the nodes are shown to answer; one that does not is not', async () => {
  const more = { dataplane: 'direct', standIn: 'haproxy', isPublished: true } as const;
  const automatic = listener('203.0.113.22', port, port, { ...more, needsProof: true });
  const requested = listener('203.0.113.22', port, port, more);
  [nodesAre.open, nodesAre.proven] = [true, false];
  const states: unknown[] = [];
  for (const each of [automatic, requested]) {
    await program(each);
    states.push([direct.isForwarding(each.key), direct.obstacles().get(nodeName('n1'))?.[4]]);
  }
  nodesAre.proven = true;
  await program(automatic);
  expect(states).toEqual([
    [false, 'unheard'],
    [true, undefined],
  ]);
  expect(direct.isForwarding(automatic.key)).toBe(true);
  expect(direct.obstacles()).toEqual(new Map());
});
