import { afterAll, beforeAll, expect, test } from 'vitest';
import { allAnswer } from '../../../test/make/answering-nodes.ts';
import { makeSubscribers } from '../../async/subscribers.ts';
import { sceneGate } from '../../../test/make/scene-gate.ts';
import { addressesOf, listener, natListener, node as tableNode, tableOf } from '../../../test/make/table.ts';
import { type DirectLab, serveVips, startDirectLab } from '../../../test/netns/direct-lab.ts';
import { patience } from '../../../test/netns/patience.ts';
import { sctpInit } from '../../../test/netns/sctp-init.ts';
import { recordLog, recordMetrics } from '../../../test/sim/observers.ts';
import type { Listener } from '../../core/traffic/table.ts';
import { makeHost } from '../../host/host.ts';
import { systemClock } from '../../main/node/clock.ts';
import type { Direct } from '../../ports/direct.ts';
import { readFlowClients } from '../nftables/nat-clients.ts';
import { makeNat } from '../nat/nat.ts';
import { makeSteering } from '../nftables/steering.ts';
import { makeDirect } from './direct.ts';

/*
 * nat and direct on one host, in front of nodes that serve an address only from some moment on: the dataplane of a UDP listener
 * changes while clients send all the time.
 */
const { signal } = new AbortController();
const port = 5300;
const common = { clock: systemClock, log: recordLog(), metrics: recordMetrics() };
const lifetime = new AbortController();
const health = { verdicts: () => new Map(), subscribe: () => () => undefined };
const silence = { silentSince: () => undefined, silenceMs: 15_000 };
let lab: DirectLab;
let steering: ReturnType<typeof makeSteering>;
let nat: ReturnType<typeof makeNat>;
/** That of the present process. */
let direct: Direct;
/** Whether the gate is open. */
let isOpen = false;
const gate = makeSubscribers();
const setOpen = (now: boolean): void => {
  isOpen = now;
  gate.tell();
};
let nextPort = 20_000;

/** Another process takes over. */
function startDirect(): void {
  const exec = lab.balancer.execPort;
  direct = makeDirect({
    ...common,
    ...silence,
    exec,
    health,
    probe: async () => new Map(),
    idleSeconds: 10_800,
    host: makeHost({ ...common, exec }),
    gate: sceneGate({ isOpen: () => isOpen, subscribe: (call) => gate.subscribe(() => call()) }),
    linkOf: () => ({ name: 'eth0', index: 2, mac: '02:00:00:00:00:01', mtu: 1_500 }),
    answering: allAnswer,
    own: () => new Map(),
    primary: () => [],
    serviceCidrs: () => [],
    lifetime: lifetime.signal,
  });
}

beforeAll(async () => {
  lab = await startDirectLab({ nodes: 2 });
  const { balancer } = lab;
  for (const node of lab.nodes) {
    await node.ask({ do: 'serveUdp', port, body: node.name });
    for (const address of [node.ip4, node.ip6]) await balancer.exec('ping', '-c', '1', '-W', '2', address);
  }
  const deps = { ...common, exec: balancer.execPort, lifetime: lifetime.signal };
  steering = makeSteering({ ...deps, host: makeHost(deps), isBridgeFiltered: async () => false });
  nat = makeNat({ ...deps, ...silence, health, own: () => new Map(), links: () => '' });
  startDirect();
});
afterAll(async () => {
  lifetime.abort();
  await lab?.[Symbol.asyncDispose]();
});

/** As a pass of the agent does. */
async function program(each: Listener): Promise<void> {
  const nodes = lab.nodes.map(({ name, ip4, ip6 }) => tableNode(name, ip4, ip6));
  const table = tableOf([each], nodes);
  const vips = addressesOf(each.address.text);
  const target = { listeners: table.listeners, serverless: new Set<never>(), vips, own: new Map(), portOf: () => 292 };
  for (const refusals of [
    await steering.apply(target, signal),
    await direct.apply(table, signal),
    await nat.apply(table, signal),
  ])
    expect(refusals).toEqual(new Map());
}

/** The source that the node saw: of nat the host, of direct the client with its port; `undefined` without an answer. */
async function sourceOf(address: string, localPort: number): Promise<string | undefined> {
  const { text } = await lab.client.ask({ do: 'askUdp', address, port, localPort, timeoutMs: 2_000 });
  return text?.replace(/^n\d /, '');
}

/**
 * A flow from `steady`, and one new flow after the other, send all the time until `work` ends; resolves with the numbers of
 * answers and of datagrams without one, and the sources that nodes saw of the steady flow.
 */
async function underClients(
  address: string,
  steady: number,
  work: () => Promise<void>,
): Promise<{ answered: number; lost: number; sources: ReadonlySet<string> }> {
  const over = new AbortController();
  const result = { answered: 0, lost: 0, sources: new Set<string>() };
  const client = async (next: () => number): Promise<void> => {
    while (!over.signal.aborted) {
      const from = next();
      const source = await sourceOf(address, from);
      if (source === undefined) result.lost++;
      else result.answered++;
      if (from === steady) result.sources.add(source?.replace(/ \d+$/, '') ?? '');
    }
  };
  const clients = Promise.all([client(() => steady), client(() => nextPort++)]);
  try {
    await work();
  } finally {
    over.abort();
    await clients;
  }
  return result;
}

test.each([
  ['203.0.113.30', false],
  ['2001:db8:f::30', false],
  ['203.0.113.31', true],
  ['2001:db8:f::31', true],
] as const)(
  'from nat to direct and back on %s (affinity: %s), no datagram is lost, and flows that live stay where they are',
  async (address, isAffine) => {
    const host = address.includes(':') ? '2001:db8::2' : '192.0.2.2';
    const client = address.includes(':') ? '2001:db8:1::2' : '198.51.100.2';
    const onNat = natListener(address, port, port);
    const onDirect = natListener(address, port, port, {
      dataplane: 'direct',
      standIn: 'nat',
      isAffine,
      isPublished: true,
    });
    const flow = (): number => nextPort++;
    const atNat = async (of: number): Promise<void> =>
      expect(await sourceOf(address, of)).toMatch(new RegExp(`^${host} `));
    const atNode = async (of: number): Promise<void> => expect(await sourceOf(address, of)).toBe(`${client} ${of}`);
    const held = async (): Promise<readonly number[]> =>
      ((await readFlowClients(lab.balancer.execPort, [onDirect], signal)).get(onDirect.key) ?? []).map(
        (each) => each.port,
      );

    setOpen(false);
    await program(onNat);
    const [old, steady] = [flow(), flow()];
    const { answered, lost, sources } = await underClients(address, steady, async () => {
      await expect
        .poll(async () => {
          await atNat(old);
          return await held();
        }, patience)
        .toEqual(expect.arrayContaining([old, steady]));
      await program(onDirect);
      expect(direct.isForwarding(onDirect.key)).toBe(false);
      await atNat(flow());

      for (const node of lab.nodes) await serveVips(node, [address], port); // kube-proxy has synced
      setOpen(true);
      await direct.audit(signal);
      await atNat(old);
      const fresh = flow();
      for (let count = 0; count < 3; count++) await atNode(fresh);

      startDirect();
      await program(onDirect);
      await atNat(old);
      for (let count = 0; count < 3; count++) await atNode(fresh);

      setOpen(false);
      await direct.audit(signal);
      for (let count = 0; count < 3; count++) await atNode(fresh);
      for (const each of [old, flow()]) await atNat(each);

      setOpen(true);
      await direct.audit(signal);
      await atNode(flow());
      await program(onNat);
      for (let count = 0; count < 3; count++) await atNode(fresh);
      for (const each of [old, flow()]) await atNat(each);

      await program(onDirect);
      await atNat(old);
      for (const each of [fresh, flow()]) await atNode(each);
      await lab.balancer.exec('conntrack', '-D', '-p', 'udp', '--orig-port-src', String(old)); // it was idle for long
      await direct.audit(signal);
      await atNode(old);
    });
    expect([lost, [...sources]]).toEqual([0, [host]]);
    expect(answered).toBeGreaterThan(50);
  },
);

test.each(['203.0.113.37', '2001:db8:f::37'])(
  'a packet to %s that has seen the nodes of before a transaction, and the rest of after it, is not lost',
  async (address) => {
    const onDirect = natListener(address, port, port, { dataplane: 'direct', standIn: 'nat', isPublished: true });
    for (const node of lab.nodes) await serveVips(node, [address], port);
    setOpen(true);
    await program(onDirect);
    await direct.audit(signal);
    await program(natListener(address, port, port));
    const family = address.includes(':') ? 6 : 4;
    for (const then of ['', `goto first${family}`]) {
      const isOfBefore = `meta priority set 0xfffe ${then}`; // no listener has this number
      await lab.balancer.nft(`insert rule netdev furiwake listen${family} ${isOfBefore}`);
      expect(await sourceOf(address, nextPort++)).toMatch(family === 6 ? /^2001:db8::2 / : /^192\.0\.2\.2 /);
      await direct.audit(signal);
    }
  },
);

test('a flow at a node ends when its client is no longer permitted, also of a listener that has left direct', async () => {
  const address = '203.0.113.36';
  const onDirect = natListener(address, port, port, { dataplane: 'direct', standIn: 'nat', isPublished: true });
  for (const node of lab.nodes) await serveVips(node, [address], port);
  setOpen(true);
  await program(onDirect);
  const pinned = nextPort++;
  for (let count = 0; count < 3; count++) expect(await sourceOf(address, pinned)).toBe(`198.51.100.2 ${pinned}`);
  await program(natListener(address, port, port));
  expect(await sourceOf(address, pinned)).toBe(`198.51.100.2 ${pinned}`);
  await program(natListener(address, port, port, { sourceRanges: [] }));
  expect(await sourceOf(address, pinned)).toBeUndefined();
});

test.each(['203.0.113.34', '2001:db8:f::34'])(
  "what the host itself sends to %s is always the stand-in's",
  async (address) => {
    const onDirect = natListener(address, port, port, { dataplane: 'direct', standIn: 'nat', isPublished: true });
    setOpen(true);
    await program(onDirect);
    expect(direct.isForwarding(onDirect.key)).toBe(true);
    expect((await lab.balancer.ask({ do: 'askUdp', address, port, timeoutMs: 2_000 })).text).toMatch(/^n\d /);
  },
);

test('a flow that the stand-in has carried for less than two seconds goes to a node, and so does one without answers', async () => {
  const address = '203.0.113.32';
  const onDirect = natListener(address, port, port, { dataplane: 'direct', standIn: 'nat', isPublished: true });
  setOpen(false);
  startDirect(); // to which the listener is not new
  await program(onDirect);
  const [young, mute] = [nextPort++, nextPort++];
  for (const node of lab.nodes)
    await node.nft(`table inet mute { chain out { type filter hook output priority 0; udp sport ${port} drop; }; }`);
  expect(await sourceOf(address, mute)).toBe(undefined); // after two seconds
  expect(await sourceOf(address, mute)).toBe(undefined);
  for (const node of lab.nodes) await node.nft('delete table inet mute');
  expect(await sourceOf(address, young)).toMatch(/^192\.0\.2\.2 /);
  for (const node of lab.nodes) await serveVips(node, [address], port);
  setOpen(true);
  await direct.audit(signal);
  for (const each of [young, mute]) expect(await sourceOf(address, each)).toBe(`198.51.100.2 ${each}`);
});

test.each(['203.0.113.33', '2001:db8:f::33'])('an SCTP packet to %s reaches one node, unchanged', async (address) => {
  const onDirect = listener(address, port, port, {
    protocol: 'SCTP',
    dataplane: 'direct',
    standIn: 'nat',
    isPublished: true,
  });
  setOpen(true);
  await program(onDirect);
  for (const node of lab.nodes) await serveVips(node, [address], port);
  const [ip, name] = address.includes(':') ? ['ip6', 'six'] : ['ip', 'four'];
  for (const node of lab.nodes)
    await node.nft(`table inet ${name} {
  chain arrive { type filter hook prerouting priority raw; ${ip} daddr ${address} sctp dport ${port} counter; }
}`);
  await lab.client.exec('perl', '-e', sctpInit, address, String(port));
  const arrived = async (): Promise<number> => {
    const lists = await Promise.all(lab.nodes.map((node) => node.exec('nft', 'list', 'table', 'inet', name)));
    return lists.reduce((sum, list) => sum + Number(/packets (\d+)/.exec(list)?.[1]), 0);
  };
  await expect.poll(arrived, patience).toBe(1);
});
