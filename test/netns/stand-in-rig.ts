import { probeBy } from '../make/probe-by.ts';
import { allAnswer } from '../make/answering-nodes.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { sceneGate } from '../make/scene-gate.ts';
import { addressesOf, addressOf, localTable, node as tableNode, tableOf, type Weights } from '../make/table.ts';
import { arrivals, countArrivals, type DirectLab, startDirectLab } from './direct-lab.ts';
import { setUp } from './net-lab.ts';
import { patience } from './patience.ts';
import { recordLog, recordMetrics } from '../sim/observers.ts';
import { makeSubscribers } from '../../src/async/subscribers.ts';
import { parseCidr } from '../../src/core/ip/range.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import { makeServerlessIndex } from '../../src/core/traffic/serverless.ts';
import type { Listener } from '../../src/core/traffic/table.ts';
import { makeHealth } from '../../src/health/health.ts';
import { makeHost } from '../../src/host/host.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import { systemFiles } from '../../src/main/node/files.ts';
import type { Direct } from '../../src/ports/direct.ts';
import type { Host } from '../../src/ports/host.ts';
import type { Nat } from '../../src/ports/nat.ts';
import type { Proxy } from '../../src/ports/proxy.ts';
import type { Steering } from '../../src/ports/steering.ts';
import { makeHaproxy } from '../../src/dataplane/haproxy/haproxy.ts';
import { makeSteering } from '../../src/dataplane/nftables/steering.ts';
import { makeAnswerProbe } from '../../src/dataplane/direct/probes/answer-probe.ts';
import { makeAnsweringNodes } from '../../src/dataplane/direct/probes/answering-nodes.ts';
import { makeNat } from '../../src/dataplane/nat/nat.ts';
import { makeDirect } from '../../src/dataplane/direct/direct.ts';
import { allPrepared } from '../make/unprepared.ts';
import { makeMtuProbe } from '../../src/dataplane/direct/probes/mtu-probe.ts';

/*
 * HAProxy, the steering and direct on one host, in front of nodes that serve an address only from some moment on: the dataplane
 * of a listener changes while clients hold connections, and open new ones all the time.
 */
const { signal } = new AbortController();
export const port = 5300;
const podCidrs = [parseCidr('10.244.0.0/16')].flatMap((range) => range ?? []);
export const lanVip = '192.0.2.52';
const common = { exec: undefined as never, clock: systemClock, log: recordLog(), metrics: recordMetrics() };
export let lab: DirectLab;
let folder: string;
const lifetime = new AbortController();
let proxy: Proxy;
let steering: Steering;
export let nat: Nat;
export let host: Host;
/** That of the present process. */
export let direct: Direct;
/** Whether the gate is open, and whether the nodes are known to answer clients themselves. */
export const nodes: { areOpen: boolean; areProven: boolean } = {
  get areOpen() {
    return isOpen;
  },
  set areOpen(now) {
    isOpen = now;
    gate.tell();
  },
  areProven: true,
};
const gate = makeSubscribers();
let isOpen = false;

/** The LAN device of the load balancer. */
let lanDevice = 'eth0';

/** From now on eth0 of the load balancer is a port of a bridge, whose packets br_netfilter passes through the hooks of IP. */
export async function putBehindBridge(): Promise<void> {
  const { balancer } = lab;
  const { mac } = await balancer.device('eth0');
  lanDevice = 'br0';
  await balancer.ip(
    'address flush dev eth0',
    `link add br0 address ${mac} type bridge`,
    ...setUp('br0', '192.0.2.2/24', '2001:db8::2/64'),
    'link set eth0 master br0',
    'route replace 0.0.0.0/0 via 192.0.2.1',
    'route replace ::/0 via 2001:db8::1',
  );
  for (const { ip4, ip6 } of lab.nodes)
    for (const address of [ip4, ip6]) await balancer.exec('ping', '-c', '1', '-W', '2', address);
  steering.noteFacts();
}

/** Another process takes over. `more`: other parts of its host. */
export function startDirect(more: Partial<Parameters<typeof makeDirect>[0]> = {}): void {
  direct = makeDirect({
    ...common,
    exec: lab.balancer.execPort,
    host,
    health: { verdicts: () => new Map(), subscribe: () => () => undefined },
    silentSince: () => undefined,
    silenceMs: 15_000,
    probe: async () => new Map(),
    idleSeconds: 10_800,
    gate: sceneGate({ isOpen: () => nodes.areOpen, subscribe: (listener) => gate.subscribe(() => listener()) }),
    linkOf: () => ({ name: lanDevice, index: 2, mac: '02:00:00:00:00:01', mtu: 1_500 }),
    answering: { ...allAnswer, has: () => nodes.areProven },
    own: () => new Map(),
    primary: () => [],
    serviceCidrs: () => [],
    lifetime: lifetime.signal,
    ...more,
  });
}

/** A process that probes the nodes, on its LAN device as it is. */
export async function startProbing(): Promise<void> {
  const { balancer } = lab;
  const device = await balancer.device(lanDevice);
  const own = new Map(['192.0.2.2', '2001:db8::2'].map((text) => [text, addressOf(text)]));
  const deps = { exec: balancer.execPort, clock: systemClock };
  const answering = makeAnsweringNodes({
    ...deps,
    probe: makeAnswerProbe(deps),
    mtuProbe: makeMtuProbe(deps),
    record: { known: new Map(), write: async () => undefined },
    log: recordLog(),
  });
  startDirect({ answering, linkOf: () => ({ name: lanDevice, ...device }), own: () => own });
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
  const health = makeHealth({ ...common, probe: probeBy(() => 'alive'), silenceMs: 15_000 });
  proxy = makeHaproxy({
    ...deps,
    folder: `${folder}/haproxy`,
    earlierFolder: `${folder}/earlier`,
    descriptorLimit: 4000,
    idleTimeoutSeconds: 3600,
    hasIpv6: true,
    account: { uid: 65_534, gid: 65_534 },
    health: health.families,
    files: systemFiles,
  });
  steering = makeSteering({
    ...deps,
    host,
    isBridgeFiltered: async () => lanDevice === 'br0',
    lifetime: lifetime.signal,
  });
  nat = makeNat({
    ...deps,
    health: { verdicts: () => new Map(), subscribe: () => () => undefined },
    silentSince: () => undefined,
    silenceMs: 15_000,
    own: () => new Map(),
    links: () => '',
    lifetime: lifetime.signal,
  });
  startDirect();
});
afterAll(async () => {
  lifetime.abort();
  await proxy?.stop(signal);
  await lab?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** As a pass of the agent does. `weights`: of the nodes with endpoints; without, all serve the listener. */
export async function program(
  each: Listener,
  { hasEndpoints = true, weights }: { readonly hasEndpoints?: boolean; readonly weights?: Weights } = {},
): Promise<void> {
  const withoutEndpoints = PersistentMap.from(hasEndpoints ? [] : [[each.key, each.uid] as const]);
  const all = lab.nodes.map(({ name, ip4, ip6 }) => ({ ...tableNode(name, ip4, ip6), podCidrs }));
  const planned = weights === undefined ? tableOf([each], all) : localTable([[each, weights]], all);
  const table = { ...planned, withoutEndpoints };
  expect(await proxy.upsert(table, signal)).toEqual(allPrepared);
  const { listeners } = table;
  const target = {
    listeners,
    serverless: makeServerlessIndex()(table),
    vips: addressesOf(each.address.text),
    own: new Map(),
    portOf: (of: Listener) => proxy.portOf(of),
  };
  expect(await steering.apply(target, signal)).toEqual(new Map());
  expect(await direct.apply(table, signal)).toEqual(new Map());
  expect(await nat.apply(table, signal)).toEqual(new Map());
  await proxy.prune(table, signal);
}

/** A connection whose server has greeted; its id. */
export async function connect(address: string): Promise<number> {
  const { id, error } = await lab.client.ask({ do: 'dial', address, port });
  if (id === undefined) throw new Error(error);
  await expect.poll(async () => (await heard(id)).text, { ...patience, interval: 5 }).toMatch(/^n\d /);
  return id;
}

export const heard = async (id: number): Promise<{ readonly text?: string; readonly end?: string }> =>
  lab.client.ask({ do: 'heard', id });

export async function expectAlive(ids: readonly number[]): Promise<void> {
  const word = `word${Math.random()} `;
  for (const id of ids) await lab.client.ask({ do: 'say', id, text: word });
  for (const id of ids)
    await expect.poll(async () => (await heard(id)).text, patience).toSatisfy((text = '') => text.endsWith(word));
}

/** Opens connections all the time until `work` ends; resolves with their number and the failures. */
export async function underClients(
  address: string,
  work: () => Promise<void>,
): Promise<{ opened: number; failed: string[] }> {
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
export async function reached(): Promise<number> {
  const counts = await Promise.all(lab.nodes.map(arrivals));
  return counts.reduce((sum, count) => sum + count, 0);
}

export const heldByHaproxy = async (each: Listener): Promise<number> =>
  (await host.clientsOf([each], signal)).get(each.key)?.length ?? 0;
