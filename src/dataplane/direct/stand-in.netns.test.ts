import { allAnswer } from '../../../test/make/answering-nodes.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addressesOf, listener, node as tableNode, nodeName, tableOf } from '../../../test/make/table.ts';
import { arrivals, countArrivals, type DirectLab, serveVips, startDirectLab } from '../../../test/netns/direct-lab.ts';
import { patience } from '../../../test/netns/patience.ts';
import { recordLog, recordMetrics } from '../../../test/sim/observers.ts';
import { untilAborted } from '../../async/abort.ts';
import { makeSubscribers } from '../../async/subscribers.ts';
import type { Listener } from '../../core/traffic/table.ts';
import { makeHealth } from '../../health/health.ts';
import { makeHost } from '../../host/host.ts';
import { systemClock } from '../../main/node/clock.ts';
import { systemFiles } from '../../main/node/files.ts';
import type { Direct } from '../../ports/direct.ts';
import type { Host } from '../../ports/host.ts';
import type { Proxy } from '../../ports/proxy.ts';
import type { Steering } from '../../ports/steering.ts';
import { makeHaproxy } from '../haproxy/haproxy.ts';
import { makeSteering } from '../nftables/steering.ts';
import { makeDirect } from './direct.ts';

/*
 * HAProxy, the steering and direct on one host, in front of nodes that serve an address only from some moment on: the dataplane
 * of a listener changes while clients hold connections, and open new ones all the time.
 */
const { signal } = new AbortController();
const port = 5300;
const lanVip = '192.0.2.52';
const common = { exec: undefined as never, clock: systemClock, log: recordLog(), metrics: recordMetrics() };
let lab: DirectLab;
let folder: string;
const lifetime = new AbortController();
let proxy: Proxy;
let steering: Steering;
let host: Host;
/** That of the present process. */
let direct: Direct;
/** Whether the gate is open. */
let isOpen = false;
/** Whether the nodes are known to answer clients themselves. */
let isProven = true;
const gate = makeSubscribers();

/** Another process takes over. */
function startDirect(): void {
  direct = makeDirect({
    ...common,
    exec: lab.balancer.execPort,
    host,
    health: { verdicts: () => new Map(), subscribe: () => () => undefined },
    silentSince: () => undefined,
    silenceMs: 15_000,
    gate: {
      isOpen: () => isOpen,
      isAnswering: () => true,
      subscribe: gate.subscribe,
      setListeners: () => undefined,
      setNodes: () => undefined,
      run: untilAborted,
    },
    linkOf: () => ({ name: 'eth0', index: 2, mac: '02:00:00:00:00:01' }),
    answering: { ...allAnswer, has: () => isProven },
    own: () => new Map(),
    primary: () => [],
    lifetime: lifetime.signal,
  });
}

beforeAll(async () => {
  lab = await startDirectLab({ nodes: 2 });
  const { balancer } = lab;
  folder = await mkdtemp(path.join(tmpdir(), 'furiwake-stand-in-'));
  for (const node of lab.nodes) {
    await node.ask({ do: 'serveLines', port, greeting: `${node.name} ` });
    await node.ask({ do: 'serveHttp', port: 10_256, body: '{}' });
    await countArrivals(node, lanVip);
    for (const address of [node.ip4, node.ip6]) await balancer.exec('ping', '-c', '1', '-W', '2', address);
  }
  await balancer.exec('ip', 'link', 'add', 'furiwake0', 'type', 'bridge');
  await balancer.exec('ip', 'link', 'set', 'furiwake0', 'up');
  await balancer.exec('ip', 'address', 'add', `${lanVip}/32`, 'dev', 'furiwake0', 'scope', 'link');
  const deps = { ...common, exec: balancer.execPort };
  host = makeHost(deps);
  const health = makeHealth({ ...common, probe: async () => 'alive', silenceMs: 15_000 });
  proxy = makeHaproxy({
    ...deps,
    folder: `${folder}/haproxy`,
    descriptorLimit: 4000,
    idleTimeoutSeconds: 3600,
    hasIpv6: true,
    account: { uid: 65_534, gid: 65_534 },
    health: health.families,
    files: systemFiles,
  });
  steering = makeSteering({ ...deps, lifetime: lifetime.signal });
  startDirect();
});
afterAll(async () => {
  lifetime.abort();
  await proxy?.stop(signal);
  await lab?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** As a pass of the agent does. */
async function program(each: Listener): Promise<void> {
  const nodes = lab.nodes.map(({ name, ip4, ip6 }) => tableNode(name, ip4, ip6));
  const table = tableOf([each], nodes);
  expect(await proxy.upsert(table, signal)).toEqual(new Map());
  const vips = addressesOf(each.address.text);
  const portOf = (of: Listener): number => proxy.portOf(of);
  const target = { listeners: table.listeners, serverless: new Set<never>(), vips, own: new Map(), portOf };
  expect(await steering.apply(target, signal)).toEqual(new Map());
  expect(await direct.apply(table, signal)).toEqual(new Map());
  await proxy.prune(table, signal);
}

/** A connection whose server has greeted; its id. */
async function connect(address: string): Promise<number> {
  const { id, error } = await lab.client.ask({ do: 'dial', address, port });
  if (id === undefined) throw new Error(error);
  await expect.poll(async () => (await heard(id)).text, { timeout: 10_000, interval: 5 }).toMatch(/^n\d /);
  return id;
}

const heard = async (id: number): Promise<{ readonly text?: string; readonly end?: string }> =>
  lab.client.ask({ do: 'heard', id });

async function expectAlive(ids: readonly number[]): Promise<void> {
  const word = `word${Math.random()} `;
  for (const id of ids) await lab.client.ask({ do: 'say', id, text: word });
  for (const id of ids)
    await expect.poll(async () => (await heard(id)).text, patience).toSatisfy((text = '') => text.endsWith(word));
}

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

const heldByHaproxy = async (each: Listener): Promise<number> =>
  (await host.clientsOf([each], signal)).get(each.key)?.length ?? 0;

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
    isOpen = false;
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
      isOpen = true;
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
  60_000,
);

test.each(['203.0.113.21', '2001:db8:f::21'])(
  'a listener on %s whose last node is gone has new connections at HAProxy, and those at nodes stay',
  async (address) => {
    const onDirect = listener(address, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
    for (const node of lab.nodes) await serveVips(node, [address], port);
    isOpen = true;
    await program(onDirect);
    const atNode = await connect(address);
    await expectAlive([atNode]);
    expect(await heldByHaproxy(onDirect)).toBe(0);
    isOpen = false;
    await direct.audit(signal);
    const atHaproxy = await connect(address);
    expect(await heldByHaproxy(onDirect)).toBe(1);
    isOpen = true;
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
  isOpen = true;
  await program(onDirect);
  expect(direct.isForwarding(onDirect.key)).toBe(true);
  const { id = 0 } = await lab.balancer.ask({ do: 'dial', address: lanVip, port });
  await expect.poll(async () => (await lab.balancer.ask({ do: 'heard', id })).text, patience).toMatch(/^n\d /);
});

test('a listener that needs a proof is left to HAProxy until the nodes are shown to answer; one that does not is not', async () => {
  const more = { dataplane: 'direct', standIn: 'haproxy', isPublished: true } as const;
  const automatic = listener('203.0.113.22', port, port, { ...more, needsProof: true });
  const requested = listener('203.0.113.22', port, port, more);
  [isOpen, isProven] = [true, false];
  const states: unknown[] = [];
  for (const each of [automatic, requested]) {
    await program(each);
    states.push([direct.isForwarding(each.key), direct.obstacles().get(nodeName('n1'))?.[4]]);
  }
  isProven = true;
  await program(automatic);
  expect(states).toEqual([
    [false, 'unheard'],
    [true, undefined],
  ]);
  expect(direct.isForwarding(automatic.key)).toBe(true);
  expect(direct.obstacles()).toEqual(new Map());
});

test('a new listener drops packets until its first node opens, so that no client reaches it by HAProxy', async () => {
  const address = '203.0.113.23';
  isOpen = false;
  isProven = true;
  await program(listener(address, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true }));
  const connecting = connect(address);
  await expect.poll(() => lab.client.exec('ss', '-Htn', 'state', 'syn-sent', 'dst', address), patience).not.toBe('');
  for (const node of lab.nodes) await serveVips(node, [address], port);
  isOpen = true;
  await direct.audit(signal);
  const id = await connecting; // the client repeated its SYN
  await expectAlive([id]);
  expect(await heldByHaproxy(listener(address, port, port))).toBe(0);
});
