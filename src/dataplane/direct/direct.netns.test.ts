import { describe, expect, test, vi } from 'vitest';
import {
  apply,
  changes,
  closed,
  direct,
  drained,
  excluded,
  expectSame,
  lab,
  newFlows,
  nextPort,
  nodeOf,
  nodesOf,
  offline,
  silentSince,
  verdicts,
  vips,
} from '../../../test/netns/direct-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { listener } from '../../../test/make/table.ts';
import { makeTable } from '../../core/traffic/table.ts';
import { systemClock } from '../../main/node/clock.ts';

const { signal } = new AbortController();

test.each(vips)('flows to %s go over all nodes, and each stays at its node', async (vip) => {
  const flows = await newFlows(vip, 30);
  expect(nodesOf(flows)).toEqual(['n1', 'n2', 'n3']);
  await expectSame(vip, flows);
});

test.each([
  ['client', vips[0], '198.51.100.2'],
  ['client', vips[1], '2001:db8:1::2'],
  ['client', vips[2], '198.51.100.2'],
  ['router', vips[2], '192.0.2.1'],
] as const)('a node sees the address and port of the %s, on %s', async (from, address, source) => {
  const localPort = nextPort();
  const { text } = await lab[from].ask({ do: 'askUdp', address, port: 53, localPort });
  expect(text?.split(' ').slice(1)).toEqual([source, String(localPort)]);
});

test('a flow whose node is lost stays at its new node when the old one returns', async () => {
  const flows = await newFlows(vips[0], 12);
  await expectSame(vips[0], flows);
  verdicts.set('n1', 'silent');
  silentSince.set('n1', systemClock.monotonic() - 60_000);
  changes.tell();
  const moved = new Map<number, string>();
  await expect
    .poll(async () => {
      for (const port of flows.keys()) moved.set(port, await nodeOf(vips[0], port));
      return nodesOf(moved);
    }, patience)
    .toEqual(['n2', 'n3']);
  await expectSame(vips[0], moved);
  verdicts.clear();
  silentSince.clear();
  changes.tell();
  await expect.poll(async () => nodesOf(await newFlows(vips[0], 20)), patience).toContain('n1');
  await expectSame(vips[0], moved);
});

test.each(vips.slice(0, 2))(
  'of a Service with nodes of its own on %s, only those get flows, by their weights',
  async (vip) => {
    await apply({ weights: { n1: 3, n2: 1 } });
    const flows = await newFlows(vip, 60);
    expect(nodesOf(flows)).toEqual(['n1', 'n2']);
    const ofFirst = [...flows.values()].filter((name) => name === 'n1').length;
    expect(ofFirst).toBeGreaterThan(30);
    await expectSame(vip, flows);
    await apply({ weights: { n1: 1, n3: 1 } });
    const [left, kept] = [new Map(flows), new Map(flows)];
    for (const [port, node] of flows) (node === 'n2' ? kept : left).delete(port);
    await expectSame(vip, kept);
    const moved = new Map<number, string>();
    for (const port of left.keys()) moved.set(port, await nodeOf(vip, port)); // n2 has no endpoints any more
    expect(nodesOf(moved)).toEqual(['n1', 'n3']);
    await expectSame(vip, moved);
    expect(nodesOf(await newFlows(vip, 30))).toEqual(['n1', 'n3']);
    await apply({ weights: {} });
    expect(await nodeOf(vip, nextPort())).toBe('timeout');
  },
);

test('a listener that no node is known to serve drops the packets of its flows, too', async () => {
  const flows = await newFlows(vips[0], 5);
  await expectSame(vips[0], flows);
  for (const { name } of lab.nodes) closed.add(name);
  changes.tell();
  const [port = 0] = flows.keys();
  await expect.poll(() => nodeOf(vips[0], port), patience).toBe('timeout');
});

test('reports that it forwards nothing while no node is open, and why', async () => {
  const { key } = listener(vips[0], 53, 0, { protocol: 'UDP' });
  const reported = (): unknown => [direct.isForwarding(key), Object.fromEntries(direct.obstacles())];
  let reports = 0;
  direct.onForwarding(() => reports++);
  expect(reported()).toEqual([true, {}]);
  for (const { name } of lab.nodes) closed.add(name);
  changes.tell();
  const mute = { 4: 'noAnswer', 6: 'noAnswer' };
  await expect.poll(reported, patience).toEqual([false, { n1: mute, n2: mute, n3: mute }]);
  closed.clear();
  changes.tell();
  await expect.poll(reported, patience).toEqual([true, {}]);
  expect(reports).toBe(2);
});

test.each(vips.slice(0, 2))('a silent node gets no flow to %s; the flows of the other nodes stay', async (vip) => {
  const ofOthers = new Map([...(await newFlows(vip, 20))].filter(([, node]) => node !== 'n2'));
  verdicts.set('n2', 'silent');
  changes.tell();
  await expect.poll(async () => nodesOf(await newFlows(vip, 20)), patience).toEqual(['n1', 'n3']);
  await expectSame(vip, ofOthers);
  verdicts.clear();
  changes.tell();
  await expect.poll(async () => nodesOf(await newFlows(vip, 20)), patience).toEqual(['n1', 'n2', 'n3']);
  await expectSame(vip, ofOthers);
});

describe.each([
  ['drains', vips[0], drained],
  ['drains', vips[1], drained],
  ['is excluded', vips[0], excluded],
  ['is excluded', vips[1], excluded],
])('a node that %s, with flows to %s', (_, vip, leaving) => {
  test('keeps the flows of more than one datagram, and gets no new ones', async () => {
    const flows = await newFlows(vip, 20);
    await expectSame(vip, flows);
    leaving.add('n1');
    await apply();
    await expectSame(vip, flows);
    expect(nodesOf(await newFlows(vip, 20))).toEqual(['n2', 'n3']);
  });

  test('keeps its TCP connections', async () => {
    const ids: number[] = [];
    for (let count = 0; count < 40; count++)
      // the ports are random: each node has some
      ids.push((await lab.client.ask({ do: 'dial', address: vip, port: 53 })).id ?? 0);
    const textOf = async (id: number): Promise<string> => (await lab.client.ask({ do: 'heard', id })).text ?? '';
    for (const id of ids) await vi.waitUntil(async () => (await textOf(id)).startsWith('n'), patience);
    for (const id of ids) await lab.client.ask({ do: 'say', id, text: 'before ' });
    for (const id of ids) await vi.waitUntil(async () => (await textOf(id)).endsWith('before '), patience);
    for (const name of ['n1', 'n2']) leaving.add(name);
    await apply();
    for (const id of ids) await lab.client.ask({ do: 'say', id, text: 'after' });
    for (const id of ids) await vi.waitUntil(async () => (await textOf(id)).endsWith('after'), patience);
    const texts = await Promise.all(ids.map(textOf));
    expect(new Set(texts.map((text) => text.slice(0, 2)))).toEqual(new Set(['n1', 'n2', 'n3']));
  });
});

test.each(vips.slice(0, 2))('an excluded node that no longer answers loses its flows to %s', async (vip) => {
  const flows = await newFlows(vip, 12);
  await expectSame(vip, flows);
  excluded.add('n1');
  await apply();
  await direct.audit(signal);
  await expectSame(vip, flows);
  offline.add('n1');
  const moved = new Map<number, string>();
  await expect
    .poll(async () => {
      await direct.audit(signal);
      for (const port of flows.keys()) moved.set(port, await nodeOf(vip, port));
      return nodesOf(moved);
    }, patience)
    .toEqual(['n2', 'n3']);
});

describe.each(vips.slice(0, 2))('with affinity, on %s', (vip) => {
  /** The nodes of a client, which has an address for each turn. */
  async function nodesOfClient(): Promise<readonly string[]> {
    return nodesOf(await newFlows(vip, 10));
  }

  test('all flows of a client go to one node, which it keeps while nodes come and another drains', async () => {
    drained.add('n3');
    await apply({ isAffine: true });
    const before = await nodesOfClient();
    expect(before).toHaveLength(1);
    drained.clear();
    await apply();
    expect(await nodesOfClient()).toEqual(before);
    drained.add(before[0] ?? '');
    await apply();
    expect(await nodesOfClient()).toEqual(before);
  });

  test('the first packets of a client to all ports of a Service choose the same node', async () => {
    for (let turn = 0; turn < 6; turn++) {
      await apply({ isAffine: true, uid: `${vip} ${turn}` }); // the kernel does not know the client
      const ofUdp = await nodeOf(vip, nextPort());
      const { id = 0 } = await lab.client.ask({ do: 'dial', address: vip, port: 53 });
      await expect
        .poll(async () => (await lab.client.ask({ do: 'heard', id })).text?.slice(0, 2), patience)
        .toBe(ofUdp);
    }
  });

  test('a client whose node is silent for long goes to another one', async () => {
    await apply({ isAffine: true });
    const [before = ''] = await nodesOfClient();
    verdicts.set(before, 'silent');
    silentSince.set(before, systemClock.monotonic() + 3_600_000); // never for long, however slow this machine is
    changes.tell();
    expect(await nodesOfClient()).toEqual([before]); // it may answer again
    silentSince.set(before, systemClock.monotonic());
    changes.tell();
    await expect.poll(nodesOfClient, patience).not.toContain(before);
  });
});

describe.each([false, true])('a node whose last endpoint is gone, with affinity: %s', (isAffine) => {
  const all = { n1: 1, n2: 1, n3: 1 };

  test('loses its flows and clients of UDP, also those that never pause', async () => {
    await apply({ isAffine, weights: all });
    const flows = await newFlows(vips[0], 12);
    await expectSame(vips[0], flows);
    const [gone = ''] = nodesOf(flows);
    await apply({ weights: Object.fromEntries(Object.entries(all).filter(([name]) => name !== gone)) });
    const moved = new Map<number, string>();
    for (const port of flows.keys()) moved.set(port, await nodeOf(vips[0], port));
    expect(nodesOf(moved)).not.toContain(gone);
    await expectSame(vips[0], moved);
    await apply({ weights: all });
    await expectSame(vips[0], moved);
  });

  test('keeps its TCP connections, and gets no new ones', async () => {
    await apply({ isAffine, weights: all });
    const dial = async (): Promise<{ readonly id: number; readonly node: string }> => {
      const { id = 0 } = await lab.client.ask({ do: 'dial', address: vips[0], port: 53 });
      const textOf = async (): Promise<string> => (await lab.client.ask({ do: 'heard', id })).text ?? '';
      await vi.waitUntil(async () => (await textOf()).startsWith('n'), patience);
      return { id, node: (await textOf()).slice(0, 2) };
    };
    const echo = async (id: number, text: string): Promise<void> => {
      await lab.client.ask({ do: 'say', id, text });
      await vi.waitUntil(async () => (await lab.client.ask({ do: 'heard', id })).text?.endsWith(text), patience);
    };
    const first = await dial();
    await echo(first.id, 'before ');
    await apply({ weights: Object.fromEntries(Object.entries(all).filter(([name]) => name !== first.node)) });
    const later = [await dial(), await dial(), await dial()];
    expect(later.map(({ node }) => node)).not.toContain(first.node);
    for (const { id } of [first, ...later]) await echo(id, 'after ');
    await apply({ weights: {} });
    for (const { id } of [first, ...later]) await echo(id, 'at last ');
  });
});

test('a listener whose nodes are not known to serve it drops; the gate opens it', async () => {
  for (const { name } of lab.nodes) closed.add(name);
  changes.tell();
  await expect.poll(() => nodeOf(vips[0], nextPort()), patience).toBe('timeout');
  closed.delete('n3');
  changes.tell();
  await expect.poll(async () => nodesOf(await newFlows(vips[0], 5)), patience).toEqual(['n3']);
});

test('a table that another program deletes or changes is restored at once', async () => {
  await lab.balancer.nft('delete table netdev furiwake');
  await vi.waitUntil(async () => (await nodeOf(vips[0], nextPort())).startsWith('n'), patience);
  await lab.balancer.nft('flush map netdev furiwake slots');
  await vi.waitUntil(async () => (await nodeOf(vips[0], nextPort())).startsWith('n'), patience);
  expect(await direct.audit(signal)).toBe(0);
});

test('without a listener there is no table', async () => {
  await direct.apply(makeTable([], []), signal);
  await expect(lab.balancer.exec('nft', 'list', 'table', 'netdev', 'furiwake')).rejects.toThrow('No such file');
});
