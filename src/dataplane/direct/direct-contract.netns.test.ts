import { afterAll, beforeAll, vi } from 'vitest';
import { directContract, type Fate, refusedRange } from '../../../test/contract/direct.ts';
import { allAnswer } from '../../../test/make/answering-nodes.ts';
import { silent } from '../../../test/make/log.ts';
import { sceneGate } from '../../../test/make/scene-gate.ts';
import { node as tableNode } from '../../../test/make/table.ts';
import { type DirectLab, serveVips, startDirectLab } from '../../../test/netns/direct-lab.ts';
import { faultyNft } from '../../../test/netns/limited-nft.ts';
import { patience } from '../../../test/netns/patience.ts';
import { recordMetrics } from '../../../test/sim/observers.ts';
import { makeSubscribers } from '../../async/subscribers.ts';
import { makeHost } from '../../host/host.ts';
import { systemClock } from '../../main/node/clock.ts';
import type { GatedListener } from '../../ports/gate.ts';
import { makeDirect } from './direct.ts';

const { signal } = new AbortController();
const vip = '192.0.2.50';
const served = 5300;
let lab: DirectLab;

beforeAll(async () => {
  lab = await startDirectLab({ nodes: 2 });
  const { balancer } = lab;
  for (const node of lab.nodes) {
    await node.ask({ do: 'serveUdp', port: served, body: node.name });
    await node.ask({ do: 'serveLines', port: served, greeting: node.name });
    await serveVips(node, [vip], served);
    await balancer.exec('ping', '-c', '1', '-W', '2', node.ip4); // resolves its MAC
  }
  // Refusals of many tests in a row: the kernel sends one a second.
  await balancer.exec('sysctl', '-qw', 'net.ipv4.icmp_ratelimit=0');
  await balancer.exec('ip', 'link', 'add', 'furiwake0', 'type', 'bridge');
  await balancer.exec('ip', 'link', 'set', 'furiwake0', 'up');
  await balancer.exec('ip', 'address', 'add', `${vip}/32`, 'dev', 'furiwake0', 'scope', 'link');
});
afterAll(() => lab?.[Symbol.asyncDispose]());

directContract('the kernel', async () => {
  const { balancer } = lab;
  const lifetime = new AbortController();
  const gate = makeSubscribers();
  let isAnswering = true;
  let isOnLink = true;
  let isRefusing = false;
  let isBroken = false;
  let listeners: ReadonlyMap<string, GatedListener> = new Map();
  const direct = makeDirect({
    exec: faultyNft(balancer.execPort, {
      isBroken: () => isBroken,
      change: (text) => (isRefusing ? text.replaceAll(refusedRange, `${refusedRange}/33`) : text),
    }),
    host: makeHost({ exec: balancer.execPort, log: silent }),
    health: { verdicts: () => new Map(), subscribe: () => () => undefined },
    silentSince: () => undefined,
    silenceMs: 15_000,
    probe: async () => new Map(),
    idleSeconds: 10_800,
    gate: sceneGate({
      isOpen: (key) => isAnswering && listeners.get(key)?.publishedMs !== undefined,
      isAnswering: () => isAnswering,
      subscribe: (listener) => gate.subscribe(() => listener()),
      setListeners: (next) => {
        listeners = next;
      },
    }),
    linkOf: ({ text }) =>
      isOnLink || text === vip ? { name: 'eth0', index: 2, mac: '02:00:00:00:00:01', mtu: 1_500 } : undefined,
    answering: allAnswer,
    own: () => new Map(),
    primary: () => [],
    serviceCidrs: () => [],
    clock: systemClock,
    log: silent,
    metrics: recordMetrics(),
    lifetime: lifetime.signal,
  });
  return {
    direct,
    nodes: lab.nodes.map(({ name, ip4 }) => tableNode(name, ip4)),
    fateOf: ({ protocol, port }) => (protocol === 'TCP' ? fateOfConnection(port) : fateOfDatagram(port)),
    setAnswering: (now) => {
      isAnswering = now;
      gate.tell();
    },
    setOnLink: (now) => {
      isOnLink = now;
    },
    setRefusing: (now) => {
      isRefusing = now;
    },
    breakAll: (now) => {
      isBroken = now;
    },
    remove: ({ port }) => balancer.nft(`delete element netdev furiwake listeners4 { ${vip} . udp . ${port} }`),
    [Symbol.asyncDispose]: async () => {
      isBroken = false;
      await direct.remove(signal);
      lifetime.abort();
    },
  };
});

async function fateOfDatagram(port: number): Promise<Fate> {
  const call = { do: 'askUdp', address: vip, port, timeoutMs: 400, isConnected: true } as const;
  const { text, error } = await lab.client.ask(call);
  if (text !== undefined) return 'served';
  return error === 'ECONNREFUSED' ? 'left' : 'dropped';
}

async function fateOfConnection(port: number): Promise<Fate> {
  const { id, error } = await lab.client.ask({ do: 'dial', address: vip, port });
  if (id === undefined) return error === 'ECONNREFUSED' ? 'left' : 'dropped';
  await vi.waitUntil(async () => (await lab.client.ask({ do: 'heard', id })).text !== '', patience);
  await lab.client.ask({ do: 'hangUp', id });
  return 'served';
}
