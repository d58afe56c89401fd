import { allAnswer } from '../make/answering-nodes.ts';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { makeSubscribers, type Subscribers } from '../../src/async/subscribers.ts';
import { parseIp } from '../../src/core/ip/ip.ts';
import { parseRange } from '../../src/core/ip/range.ts';
import type { NodeHealth } from '../../src/core/traffic/report.ts';
import type { ServiceUid } from '../../src/core/model/names.ts';
import { makeTable, nodesBackend, type TrafficNode } from '../../src/core/traffic/table.ts';
import { makeDirect } from '../../src/dataplane/direct/direct.ts';
import { mostPins } from '../../src/dataplane/direct/table/ruleset.ts';
import { makeHost } from '../../src/host/host.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import type { Exec } from '../../src/ports/exec.ts';
import type { Direct } from '../../src/ports/direct.ts';
import type { Gate } from '../../src/ports/gate.ts';
import { sceneGate } from '../make/scene-gate.ts';
import { listener, localListener, localTable, nodeName, type Weights } from '../make/table.ts';
import { recordLog, recordMetrics } from '../sim/observers.ts';
import { type DirectLab, serveVips, startDirectLab } from './direct-lab.ts';

/*
 * The adapter on a real kernel, with nodes that answer as kube-proxy does: a lab for a file of tests, a new adapter for
 * each test.
 */
const { signal } = new AbortController();
export const vips = ['203.0.113.10', '2001:db8:f::10', '192.0.2.50'] as const;

export let lab: DirectLab;

beforeAll(async () => {
  lab = await startDirectLab({ nodes: 3 });
  for (const node of lab.nodes) {
    await node.ask({ do: 'serveUdp', port: 5300, body: node.name });
    await node.ask({ do: 'serveLines', port: 5300, greeting: `${node.name} ` });
    await node.ask({ do: 'serveHttp', port: 5301, body: node.name.repeat(1_000_000) });
    await serveVips(node, vips, 5300);
  }
  await lab.balancer.exec('ip', 'link', 'add', 'furiwake0', 'type', 'bridge');
  await lab.balancer.exec('ip', 'link', 'set', 'furiwake0', 'up');
  await lab.balancer.exec('ip', 'address', 'add', `${vips[2]}/32`, 'dev', 'furiwake0', 'scope', 'link');
});
afterAll(() => lab?.[Symbol.asyncDispose]());

/** The adapter of this test. */
export let direct: Direct;
let stop: AbortController;
let running: Promise<void>;
let isAffine = false;
let affinitySeconds = 10_800;
let weights: Weights | undefined;
let uid = 'first' as ServiceUid;
/** The verdicts on nodes, and since when those that are silent are; by name. After a change: `changes.tell()`. */
export const verdicts: Map<string, NodeHealth> = new Map<string, NodeHealth>();
export const silentSince: Map<string, number> = new Map<string, number>();
/** The nodes whose gate is closed. */
export const closed: Set<string> = new Set<string>();
/** The boot IDs of nodes that have rebooted, from the next `apply` on. */
export const boots: Map<string, string> = new Map<string, string>();
/** The nodes that drain, from the next `apply` on. */
export const drained: Set<string> = new Set<string>();
/** Those that are excluded: no backend has them. */
export const excluded: Set<string> = new Set<string>();
/** Those that do not answer when they are asked as excluded ones. */
export const offline: Set<string> = new Set<string>();
export const changes: Subscribers = makeSubscribers();
/** The Pod CIDRs of all nodes. */
export const podCidrs: readonly string[] = ['10.244.0.0/16', 'fd44::/64'];
const serviceCidrs = ['10.96.0.0/16', 'fd96::/112'].flatMap((text) => parseRange(text) ?? []);
/**
 * How many pins the kernel takes, and flows that may be pinned; from the next table on. `isWritable`: until then no whole table is
 * written.
 */
export const limits: { pins: number; seen: number; isWritable: Promise<void> } = {
  pins: mostPins,
  seen: mostPins,
  isWritable: Promise.resolve(),
};
let lastPort = 20_000;
/** A port that no flow has had. */
export const nextPort = (): number => ++lastPort;

/** The gate as `closed` says. */
export function byHand(): Gate {
  return sceneGate({
    isOpen: (_, node) => !closed.has(node),
    isAnswering: (node) => !closed.has(node),
    subscribe: (call) => changes.subscribe(() => call()),
  });
}

function start(gate: Gate): void {
  stop = new AbortController();
  direct = makeDirect({
    exec: limited(lab.balancer.execPort),
    host: makeHost({ exec: lab.balancer.execPort, log: recordLog() }),
    health: {
      verdicts: () => new Map(Array.from(verdicts, ([name, state]) => [nodeName(name), { 4: state, 6: state }])),
      subscribe: changes.subscribe,
    },
    silentSince: (name) => silentSince.get(name),
    probe: async (targets) =>
      new Map(Array.from(targets.keys(), (hop) => [hop, offline.has(hop.split(' ')[0] ?? '') ? 'silent' : 'ok'])),
    silenceMs: 1_000,
    idleSeconds: 7_500,
    gate,
    linkOf: () => ({ name: 'eth0', index: 2, mac: '02:00:00:00:00:01', mtu: 1_500 }),
    answering: allAnswer,
    own: () => new Map(),
    primary: () => [],
    serviceCidrs: () => serviceCidrs,
    clock: systemClock,
    log: recordLog(),
    metrics: recordMetrics(),
    lifetime: stop.signal,
  });
}

function run(): void {
  running = direct.run(stop.signal);
  running.catch(() => undefined);
}

/** Kills the adapter, and starts another one with this gate and first table: the table in the kernel stays. */
export async function restart(gate: Gate, first: Parameters<typeof apply>[0] = {}): Promise<void> {
  stop.abort();
  await running.catch(() => undefined);
  start(gate);
  await apply(first);
  run();
}

beforeEach(async () => {
  for (const each of [verdicts, silentSince, closed, drained, excluded, offline, boots]) each.clear();
  isAffine = false;
  affinitySeconds = 10_800;
  weights = undefined;
  uid = 'first' as ServiceUid;
  Object.assign(limits, { pins: mostPins, seen: mostPins, isWritable: Promise.resolve() });
  start(byHand());
  for (const { ip4, ip6 } of lab.nodes)
    for (const address of [ip4, ip6]) await lab.balancer.exec('ping', '-c', '1', '-W', '2', address); // resolves its MAC
  await apply();
  run();
});
afterEach(async () => {
  stop.abort();
  await running.catch(() => undefined);
  await direct.remove(signal);
});

/** Programs on a host whose kernel accepts fewer pins, because the map has another size, or whose nft is slow. */
function limited(exec: Exec): Exec {
  return {
    ...exec,
    run: async (file, args, { stdin, ...options }) => {
      const text = stdin
        ?.replace(/(map pins \{.* size )\d+/, `$1${limits.pins}`)
        .replace(/(set seen \{.* size )\d+/, `$1${limits.seen}`);
      if (text?.includes('chain arrive') === true) await limits.isWritable;
      return await exec.run(file, args, text === undefined ? options : { ...options, stdin: text });
    },
  };
}

/**
 * Programs listeners of all addresses, UDP and TCP; those of a family admit the ranges of that family. `weights`: of the nodes
 * with endpoints of the Service; without, all serve it. `uid`: of the Service.
 */
export async function apply(
  options: {
    readonly isAffine?: boolean;
    readonly affinitySeconds?: number;
    readonly sourceRanges?: readonly string[];
    readonly weights?: Weights;
    readonly uid?: string;
  } = {},
): Promise<void> {
  isAffine = options.isAffine ?? isAffine;
  affinitySeconds = options.affinitySeconds ?? affinitySeconds;
  weights = options.weights ?? weights;
  uid = (options.uid as ServiceUid | undefined) ?? uid;
  const all = lab.nodes.map(({ name, ip4, ip6 }): TrafficNode => ({
    name: nodeName(name),
    addresses: [ip4, ip6].flatMap((text) => parseIp(text) ?? []),
    podCidrs: podCidrs.flatMap((text) => parseRange(text) ?? []),
    bootId: boots.get(name) ?? 'first',
    state: drained.has(name) ? 'drain' : 'active',
  }));
  const nodes = all.filter(({ name }) => !excluded.has(name));
  const listeners = vips.flatMap((vip) =>
    (['UDP', 'TCP'] as const).map((protocol) =>
      listener(vip, 53, 0, {
        protocol,
        dataplane: 'direct',
        isPublished: true,
        uid,
        isAffine,
        affinitySeconds: isAffine ? affinitySeconds : 0,
        sourceRanges: options.sourceRanges?.flatMap((text) => {
          const range = parseRange(text);
          return range?.family === (vip.includes(':') ? 6 : 4) ? range : [];
        }),
        backend: weights === undefined ? nodesBackend(vip.includes(':') ? 6 : 4) : localListener(vip, 53, 0).backend,
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
  const excludedNodes = all.filter((node) => !nodes.includes(node));
  expect(await direct.apply({ ...table, excludedNodes }, signal)).toEqual(new Map());
}

/** The node that answers a datagram from this port; `timeout`: none. */
export async function nodeOf(vip: string, localPort: number, bytes = 1): Promise<string> {
  const call = { do: 'askUdp', address: vip, port: 53, localPort, timeoutMs: 1_000, bytes } as const;
  const { text, error } = await lab.client.ask(call);
  return text?.split(' ')[0] ?? error ?? '';
}

/** The nodes of `count` new flows, by local port. */
export async function newFlows(vip: string, count: number): Promise<ReadonlyMap<number, string>> {
  const found = new Map<number, string>();
  for (let index = 0; index < count; index++) {
    const port = nextPort();
    found.set(port, await nodeOf(vip, port));
  }
  return found;
}

/** Each of the flows is still at its node. */
export async function expectSame(vip: string, flows: ReadonlyMap<number, string>): Promise<void> {
  for (const [port, node] of flows) expect([port, await nodeOf(vip, port)]).toEqual([port, node]);
}

/** The nodes that serve these flows. */
export const nodesOf = (flows: ReadonlyMap<number, string>): readonly string[] => [...new Set(flows.values())].sort();

/** In how many seconds the elements of a map end. */
export async function endsOf(map: 'pins' | 'opening' | 'closing' | 'clients'): Promise<readonly number[]> {
  const listed = await lab.balancer.exec('nft', 'list', 'map', 'netdev', 'furiwake', map);
  return Array.from(
    listed.matchAll(/ expires (?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?/g),
    ([, hours = 0, minutes = 0, seconds = 0]) => Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds),
  );
}
