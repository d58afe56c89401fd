import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { recordLog, recordMetrics } from '../../../test/sim/observers.ts';
import { listener, localListener, localTable, nodeName, type Weights } from '../../../test/make/table.ts';
import { type DirectLab, serveVips, startDirectLab } from '../../../test/netns/direct-lab.ts';
import { patience } from '../../../test/netns/patience.ts';
import { untilAborted } from '../../async/abort.ts';
import { makeSubscribers } from '../../async/subscribers.ts';
import { parseIp } from '../../core/ip/ip.ts';
import type { NodeHealth } from '../../core/traffic/report.ts';
import { makeTable, nodesBackend, type TrafficNode } from '../../core/traffic/table.ts';
import { systemClock } from '../../main/node/clock.ts';
import type { Direct } from '../../ports/direct.ts';
import { makeDirect } from './direct.ts';

/*
 * The adapter on a real kernel, with nodes that answer as kube-proxy does.
 */
const { signal } = new AbortController();
const vips = ['203.0.113.10', '2001:db8:f::10', '192.0.2.50'] as const;
let lab: DirectLab;

beforeAll(async () => {
  lab = await startDirectLab({ nodes: 3 });
  for (const node of lab.nodes) {
    await node.ask({ do: 'serveUdp', port: 5300, body: node.name });
    await node.ask({ do: 'serveLines', port: 5300, greeting: `${node.name} ` });
    await node.ask({ do: 'serveHttp', port: 5301, body: node.name.repeat(300_000) });
    await serveVips(node, vips, 5300);
  }
  await lab.balancer.exec('ip', 'link', 'add', 'furiwake0', 'type', 'bridge');
  await lab.balancer.exec('ip', 'link', 'set', 'furiwake0', 'up');
  await lab.balancer.exec('ip', 'address', 'add', `${vips[2]}/32`, 'dev', 'furiwake0', 'scope', 'link');
});
afterAll(() => lab?.[Symbol.asyncDispose]());

let direct: Direct;
let log = recordLog();
let stop: AbortController;
let running: Promise<void>;
let verdicts: Map<string, NodeHealth>;
let closed: Set<string>;
let drained: Set<string>;
let isAffine = false;
/** Of the nodes with endpoints of the Service; `undefined`: all nodes serve it. */
let weights: Weights | undefined;
let silentSince: Map<string, number>;
const changes = makeSubscribers();
let nextPort = 20_000;

beforeEach(async () => {
  log = recordLog();
  [stop, verdicts, closed, drained] = [new AbortController(), new Map(), new Set(), new Set()];
  isAffine = false;
  weights = undefined;
  silentSince = new Map();
  direct = makeDirect({
    exec: lab.balancer.execPort,
    health: {
      verdicts: () => new Map(Array.from(verdicts, ([name, state]) => [nodeName(name), { 4: state, 6: state }])),
      subscribe: changes.subscribe,
    },
    silentSince: (name) => silentSince.get(name),
    silenceMs: 1_000,
    gate: {
      isOpen: (_, node) => !closed.has(node),
      isAnswering: (node) => !closed.has(node),
      subscribe: changes.subscribe,
      setListeners: () => undefined,
      setNodes: () => undefined,
      run: untilAborted,
    },
    linkOf: () => 'eth0',
    isOwn: () => false,
    primary: () => [],
    clock: systemClock,
    log,
    metrics: recordMetrics(),
    lifetime: stop.signal,
  });
  for (const { ip4, ip6 } of lab.nodes)
    for (const address of [ip4, ip6]) await lab.balancer.exec('ping', '-c', '1', '-W', '2', address); // resolves its MAC
  await apply();
  running = direct.run(stop.signal);
  running.catch(() => undefined);
});
afterEach(async () => {
  stop.abort();
  await running.catch(() => undefined);
  await direct.remove(signal);
});

async function apply(): Promise<void> {
  const nodes = lab.nodes.map(({ name, ip4, ip6 }): TrafficNode => ({
    name: nodeName(name),
    addresses: [ip4, ip6].flatMap((text) => parseIp(text) ?? []),
    state: drained.has(name) ? 'drain' : 'active',
  }));
  const listeners = vips.flatMap((vip) =>
    (['UDP', 'TCP'] as const).map((protocol) =>
      listener(vip, 53, 0, {
        protocol,
        dataplane: 'direct',
        isPublished: true,
        isAffine,
        backend: weights === undefined ? nodesBackend(familyOf(vip)) : localListener(vip, 53, 0).backend,
      }),
    ),
  );
  const ofWeights = weights;
  const table =
    ofWeights === undefined
      ? makeTable(listeners, nodes)
      : localTable(
          listeners.map((each) => [each, ofWeights]),
          nodes,
        );
  expect(await direct.apply(table, signal)).toEqual(new Map());
}

function familyOf(vip: string): 4 | 6 {
  return vip.includes(':') ? 6 : 4;
}

/** The node that answers a datagram from this port; `timeout`: none. */
async function nodeOf(vip: string, localPort: number, bytes = 1): Promise<string> {
  const call = { do: 'askUdp', address: vip, port: 53, localPort, timeoutMs: 400, bytes } as const;
  const { text, error } = await lab.client.ask(call);
  return text?.split(' ')[0] ?? error ?? '';
}

/** The nodes of `count` new flows, by local port. */
async function newFlows(vip: string, count: number): Promise<ReadonlyMap<number, string>> {
  const found = new Map<number, string>();
  for (let index = 0; index < count; index++) {
    const port = nextPort++;
    found.set(port, await nodeOf(vip, port));
  }
  return found;
}

/** Each of the flows is still at its node. */
async function expectSame(vip: string, flows: ReadonlyMap<number, string>): Promise<void> {
  for (const [port, node] of flows) expect([port, await nodeOf(vip, port)]).toEqual([port, node]);
}

const nodesOf = (flows: ReadonlyMap<number, string>): readonly string[] => [...new Set(flows.values())].sort();

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
  const localPort = nextPort++;
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
    weights = { n1: 3, n2: 1 };
    await apply();
    const flows = await newFlows(vip, 60);
    expect(nodesOf(flows)).toEqual(['n1', 'n2']);
    const ofFirst = [...flows.values()].filter((name) => name === 'n1').length;
    expect(ofFirst).toBeGreaterThan(30);
    await expectSame(vip, flows);
    weights = { n1: 1, n3: 1 };
    await apply();
    await expectSame(vip, flows); // also those of n2, which has no endpoints any more
    expect(nodesOf(await newFlows(vip, 30))).toEqual(['n1', 'n3']);
    weights = {};
    await apply();
    expect(await nodeOf(vip, nextPort++)).toBe('timeout');
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

describe.each(vips.slice(0, 2))('a node that drains, with flows to %s', (vip) => {
  test('keeps the flows of more than one datagram, and gets no new ones', async () => {
    const flows = await newFlows(vip, 20);
    await expectSame(vip, flows);
    drained.add('n1');
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
    for (const name of ['n1', 'n2']) drained.add(name);
    await apply();
    for (const id of ids) await lab.client.ask({ do: 'say', id, text: 'after' });
    for (const id of ids) await vi.waitUntil(async () => (await textOf(id)).endsWith('after'), patience);
    const texts = await Promise.all(ids.map(textOf));
    expect(new Set(texts.map((text) => text.slice(0, 2)))).toEqual(new Set(['n1', 'n2', 'n3']));
  });
});

describe.each(vips.slice(0, 2))('with affinity, on %s', (vip) => {
  /** The nodes of a client, which has an address for each turn. */
  async function nodesOfClient(): Promise<readonly string[]> {
    return nodesOf(await newFlows(vip, 10));
  }

  test('all flows of a client go to one node, which it keeps while nodes come and another drains', async () => {
    isAffine = true;
    drained.add('n3');
    await apply();
    const before = await nodesOfClient();
    expect(before).toHaveLength(1);
    drained.clear();
    await apply();
    expect(await nodesOfClient()).toEqual(before);
    drained.add(before[0] ?? '');
    await apply();
    expect(await nodesOfClient()).toEqual(before);
  });

  test('a client whose node is silent for long goes to another one', async () => {
    isAffine = true;
    await apply();
    const [before = ''] = await nodesOfClient();
    verdicts.set(before, 'silent');
    silentSince.set(before, systemClock.monotonic());
    changes.tell();
    expect(await nodesOfClient()).toEqual([before]); // it may answer again
    await expect.poll(nodesOfClient, patience).not.toContain(before);
  });
});

test.each(vips)('all fragments of a datagram to %s reach the node of its flow', async (vip) => {
  const flows = await newFlows(vip, 20);
  expect(nodesOf(flows)).toEqual(['n1', 'n2', 'n3']);
  for (const [port, node] of flows) expect([port, await nodeOf(vip, port, 5_000)]).toEqual([port, node]);
});

test('a listener whose nodes are not known to serve it drops; the gate opens it', async () => {
  for (const { name } of lab.nodes) closed.add(name);
  changes.tell();
  await expect.poll(() => nodeOf(vips[0], nextPort++), patience).toBe('timeout');
  closed.delete('n3');
  changes.tell();
  await expect.poll(async () => nodesOf(await newFlows(vips[0], 5)), patience).toEqual(['n3']);
});

test('a packet that a node routes back by way of the router circles a few times only', async () => {
  await using _restored = {
    [Symbol.asyncDispose]: async () => {
      for (const node of lab.nodes) await serveVips(node, vips, 5300);
    },
  };
  for (const node of lab.nodes) await serveVips(node, [], 5300);
  await lab.router.nft(`table ip count {
  chain forward {
    type filter hook forward priority 0
    ip daddr 203.0.113.10 counter
  }
}`);
  expect(await nodeOf(vips[0], nextPort++)).toBe('timeout');
  const listed = await lab.router.exec('nft', 'list', 'table', 'ip', 'count');
  expect(Number(/packets (\d+)/.exec(listed)?.[1])).toBeLessThanOrEqual(6);
  await lab.router.nft('delete table ip count');
});

test.each(vips.slice(0, 2))('an ICMP error to %s reaches the node of its flow, and no other', async (vip) => {
  for (const node of lab.nodes) await serveVips(node, vips, 5301);
  await using _restored = {
    [Symbol.asyncDispose]: async () => {
      for (const node of lab.nodes) await serveVips(node, vips, 5300);
      await lab.router.exec('ip', 'link', 'set', 'wan', 'mtu', '1500');
    },
  };
  await lab.router.exec('ip', 'link', 'set', 'wan', 'mtu', '1300'); // the client does not know
  for (const node of lab.nodes)
    await node.nft(`table inet errors
delete table inet errors
table inet errors {
  chain arrive {
    type filter hook prerouting priority raw
    icmp type destination-unreachable counter
    icmpv6 type packet-too-big counter
  }
}`);
  const errorsAt = async (): Promise<readonly number[]> =>
    Promise.all(
      lab.nodes.map(async (node) => {
        const listed = await node.exec('nft', 'list', 'table', 'inet', 'errors');
        return [...listed.matchAll(/packets (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
      }),
    );
  const firsts = new Map<string, readonly string[]>();
  for (let turn = 0; turn < 60 && firsts.size < 3; turn++) {
    const before = await errorsAt();
    const { text = '' } = await lab.client.ask({ do: 'fetch', address: vip, port: 53, timeoutMs: 5_000 });
    expect(text).toHaveLength(600_000);
    const name = text.slice(0, 2);
    const reached = (await errorsAt()).flatMap((count, index) => (count > (before[index] ?? 0) ? `n${index + 1}` : []));
    if (!firsts.has(name)) firsts.set(name, reached); // later the node knows the path
  }
  expect([...firsts].toSorted(([a], [b]) => (a < b ? -1 : 1))).toEqual([
    ['n1', ['n1']],
    ['n2', ['n2']],
    ['n3', ['n3']],
  ]);
});

test('a table that another program deletes or changes is restored at once', async () => {
  await lab.balancer.nft('delete table netdev furiwake');
  await vi.waitUntil(async () => (await nodeOf(vips[0], nextPort++)).startsWith('n'), patience);
  await lab.balancer.nft('flush map netdev furiwake slots');
  await vi.waitUntil(async () => (await nodeOf(vips[0], nextPort++)).startsWith('n'), patience);
  expect(await direct.audit(signal)).toBe(0);
});

test('without a listener there is no table', async () => {
  await direct.apply(makeTable([], []), signal);
  await expect(lab.balancer.exec('nft', 'list', 'table', 'netdev', 'furiwake')).rejects.toThrow('No such file');
});
