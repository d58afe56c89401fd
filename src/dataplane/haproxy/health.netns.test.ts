import { expect, test } from 'vitest';
import { type Driver, echoPort, namePort, type Rig, startRig } from '../../../test/netns/haproxy-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { listener, nodeName } from '../../../test/make/table.ts';

const listeners = [
  listener('10.50.0.1', 80, namePort),
  listener('10.50.0.1', 25, echoPort),
  listener('fd50::1', 80, namePort),
];

async function states({ proxy }: Driver, rig: Rig): Promise<string> {
  const { servers } = await proxy.observe(rig.signal);
  return servers
    .filter(({ family }) => family === 4)
    .map(({ node, state, health }) => `${node} ${state === 'drain' ? `drain (${health})` : state}`)
    .join(', ');
}

/** Connections of the client to row :25, one on each node, by the node's name. */
async function connectionPerNode(rig: Rig): Promise<ReadonlyMap<string, number>> {
  const byNode = new Map<string, number>();
  while (byNode.size < rig.lab.nodes.length) {
    const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.1', port: 25 });
    await expect.poll(() => heard(rig, id), patience).toMatch(/^220 n\d\n/);
    byNode.set((await heard(rig, id)).slice(4, 6), id);
  }
  return byNode;
}

async function heard(rig: Rig, id: number): Promise<string> {
  return (await rig.lab.client.ask({ do: 'heard', id })).text ?? '';
}

async function ending(rig: Rig, id: number | undefined): Promise<string | undefined> {
  return (await rig.lab.client.ask({ do: 'heard', id: id ?? 0 })).end;
}

async function echoes(rig: Rig, id: number | undefined): Promise<void> {
  const word = `word ${performance.now()}`;
  await rig.lab.client.ask({ do: 'say', id: id ?? 0, text: word });
  await expect.poll(() => heard(rig, id ?? 0), patience).toContain(word);
}

/** The nodes that answer the next requests; each must be answered. */
async function answering(rig: Rig): Promise<string> {
  const names = new Set<string>();
  for (let request = 0; request < 12; request++) {
    const { text, error } = await rig.fetch('10.50.0.1');
    expect(error).toBeUndefined();
    names.add(text ?? '');
  }
  return [...names].sort().join(' ');
}

test('a silent node: no new connection fails, its connections are reset, and it recovers', async () => {
  await using rig = await startRig({ nodes: 3 });
  const driver = rig.newDriver();
  const table = rig.table(listeners);
  await driver.proxy.upsert(table, rig.signal);
  driver.watch();
  const connections = await connectionPerNode(rig);
  await rig.lab.nodes[0]?.setSilent(true);
  expect(await answering(rig)).toBe('n2 n3'); // before any check noticed: HAProxy retried on another node
  await expect.poll(() => states(driver, rig), patience).toBe('n1 silent, n2 up, n3 up');
  await expect.poll(() => ending(rig, connections.get('n1')), patience).not.toBe('open');
  await echoes(rig, connections.get('n2'));
  await echoes(rig, connections.get('n3'));
  expect(driver.metric('furiwake_servers state=silent')).toBe(2);
  await rig.lab.nodes[0]?.setSilent(false);
  await expect.poll(() => states(driver, rig), patience).toBe('n1 up, n2 up, n3 up');
  await expect.poll(() => answering(rig), patience).toBe('n1 n2 n3');
});

test('a node that drains and becomes silent is both, and HAProxy says how long it has counted', async () => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const [first, second] = rig.lab.nodes;
  if (first === undefined || second === undefined) throw new Error('two nodes');
  const nodes = [
    { node: first, state: 'drain' as const },
    { node: second, state: 'active' as const },
  ];
  await driver.proxy.upsert(rig.table(listeners), rig.signal);
  driver.watch();
  await expect.poll(() => answering(rig), patience).toBe('n1 n2');
  await driver.proxy.upsert(rig.table(listeners, nodes), rig.signal);
  await driver.rounds(3);
  expect(await states(driver, rig)).toBe('n1 drain (up), n2 up');
  await first.setSilent(true);
  await expect.poll(() => states(driver, rig), patience).toBe('n1 drain (silent), n2 up');
  expect((await driver.proxy.observe(rig.signal)).upSeconds).toBeGreaterThan(0);
});

test('a node that is drained when HAProxy starts is checked: its silence shows, and it is used after the drain', async () => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const [first, second] = rig.lab.nodes;
  if (first === undefined || second === undefined) throw new Error('two nodes');
  const table = (state: 'active' | 'drain') =>
    rig.table(listeners, [
      { node: first, state },
      { node: second, state: 'active' },
    ]);
  await driver.proxy.upsert(table('drain'), rig.signal);
  driver.watch();
  await driver.rounds(3);
  expect(await states(driver, rig)).toBe('n1 drain (up), n2 up');
  await first.setSilent(true);
  await expect.poll(() => states(driver, rig), patience).toBe('n1 drain (silent), n2 up');
  expect(await answering(rig)).toBe('n2');

  process.kill((await driver.proxy.observe(rig.signal)).pid, 'SIGKILL'); // it starts again with the node drained
  await expect.poll(() => driver.metric('furiwake_haproxy_restarts_total'), patience).toBe(1);
  await first.setSilent(false);
  await expect.poll(() => states(driver, rig), patience).toBe('n1 drain (up), n2 up');
  expect(await answering(rig)).toBe('n2');
  await driver.proxy.upsert(table('active'), rig.signal);
  await expect.poll(() => answering(rig), patience).toBe('n1 n2');
});

test('a node that answers unhealthy, or refuses, gets no new connections and keeps those it has', async () => {
  await using rig = await startRig({ nodes: 3 });
  const driver = rig.newDriver();
  await driver.proxy.upsert(rig.table(listeners), rig.signal);
  driver.watch();
  const connections = await connectionPerNode(rig);
  await rig.lab.nodes[0]?.ask({ do: 'setStatus', port: 10_256, status: 503 });
  await rig.lab.nodes[1]?.ask({ do: 'unlisten', port: 10_256 });
  await expect.poll(() => states(driver, rig), patience).toBe('n1 unhealthy, n2 unhealthy, n3 up');
  expect(await answering(rig)).toBe('n3');
  // Longer than the time until the connections of a silent node are reset.
  await driver.rounds(6);
  for (const id of connections.values()) await echoes(rig, id);
  await rig.lab.nodes[0]?.ask({ do: 'setStatus', port: 10_256, status: 200 });
  await expect.poll(() => states(driver, rig), patience).toBe('n1 up, n2 unhealthy, n3 up');
  const told = driver.complaints.map(
    (line) => /^port 10256 of this node does not answer|reports that it is unhealthy/.exec(line)?.[0],
  );
  expect(told.toSorted((a = '', b = '') => a.localeCompare(b))).toEqual([
    'port 10256 of this node does not answer', // once per family
    'port 10256 of this node does not answer',
    'reports that it is unhealthy',
    'reports that it is unhealthy',
  ]);
});

test('if no node answers on the health port the own probe decides: a node that refuses is alive, only a silent one is dead', async () => {
  await using rig = await startRig({ nodes: 2, healthz: false });
  const driver = rig.newDriver();
  const table = rig.table(listeners);
  await driver.proxy.upsert(table, rig.signal);
  driver.watch();
  // From the start: HAProxy's first checks would have taken both out of use.
  const over = new AbortController();
  const threeRounds = driver.rounds(3).then(() => over.abort());
  while (!over.signal.aborted) expect(await answering(rig)).toBe('n1 n2');
  await threeRounds;
  expect(await states(driver, rig)).toBe('n1 up, n2 up');
  expect([4, 6].map((family) => driver.metric(`furiwake_own_probe family=${family}`))).toEqual([1, 1]);
  expect(driver.complaints).toHaveLength(2); // once per family

  const connections = await connectionPerNode(rig);
  await rig.lab.nodes[0]?.setSilent(true);
  await expect.poll(() => states(driver, rig), patience).toBe('n1 silent, n2 up');
  await expect.poll(() => ending(rig, connections.get('n1')), patience).not.toBe('open');
  expect(await answering(rig)).toBe('n2');
  await rig.lab.nodes[1]?.setSilent(true);
  await driver.rounds(4);
  expect(await states(driver, rig)).toBe('n1 silent, n2 silent');
  expect(driver.complaints.at(-1)).toBe('node does not answer, and no other node of this family does: it stays in use');
  await rig.lab.nodes[0]?.setSilent(false);
  await expect.poll(() => states(driver, rig), patience).toBe('n1 up, n2 silent');
  await driver.rounds(1);
  expect(await answering(rig)).toBe('n1');

  // After a kill it is in the same state again, and the next furiwake finds it so.
  process.kill((await driver.proxy.observe(rig.signal)).pid, 'SIGKILL');
  await expect.poll(() => driver.metric('furiwake_haproxy_restarts_total'), patience).toBe(1);
  await driver.rounds(2);
  expect(await answering(rig)).toBe('n1');
  const next = rig.newDriver();
  await next.proxy.upsert(table, rig.signal);
  expect(next.metric('furiwake_own_probe family=4')).toBe(1);

  await rig.lab.nodes[1]?.setSilent(false);
  for (const node of rig.lab.nodes) await node.ask({ do: 'serveHttp', port: 10_256, body: '{}' });
  await expect
    .poll(() => [4, 6].map((family) => driver.metric(`furiwake_own_probe family=${family}`)), {
      timeout: 60_000,
      interval: 200,
    })
    .toEqual([0, 0]);
  await driver.rounds(3);
  expect(await states(driver, rig)).toBe('n1 up, n2 up');
});

test('when the health port becomes silent on all nodes at once, none stays out of use and no connection is reset', async () => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  await driver.proxy.upsert(rig.table(listeners), rig.signal);
  driver.watch();
  const connections = await connectionPerNode(rig);
  for (const node of rig.lab.nodes)
    await node.nft('table inet firewall { chain in { type filter hook input priority 0; tcp dport 10256 drop; }; }');
  await expect.poll(() => driver.metric('furiwake_own_probe family=4'), patience).toBe(1);
  await driver.rounds(4);
  expect(await answering(rig)).toBe('n1 n2');
  for (const id of connections.values()) await echoes(rig, id);
});

test('nodes are added and removed; an excluded one keeps its connections and is removed after the last', async () => {
  await using rig = await startRig({ nodes: 3 });
  const driver = rig.newDriver();
  const [n1, n2, n3] = rig.lab.nodes.map((node) => ({ node, state: 'active' as const }));
  if (n1 === undefined || n2 === undefined || n3 === undefined) throw new Error('three nodes');
  const apply = async (...nodes: Parameters<Rig['table']>[1] & {}): Promise<void> => {
    const table = rig.table(listeners, nodes);
    await driver.proxy.upsert(table, rig.signal);
    await driver.proxy.prune(table, rig.signal);
  };
  await driver.proxy.upsert(rig.table(listeners, []), rig.signal);
  driver.watch();
  expect(await rig.fetch('10.50.0.1')).toHaveProperty('error');
  const { pid } = await driver.proxy.observe(rig.signal);
  await apply(n1, n2, n3);
  await expect.poll(() => answering(rig), patience).toBe('n1 n2 n3');
  const connections = await connectionPerNode(rig);

  await apply({ ...n1, state: 'drain' }, n2, n3);
  expect(await answering(rig)).toBe('n2 n3');
  expect(await states(driver, rig)).toBe('n1 drain (up), n2 up, n3 up');
  await echoes(rig, connections.get('n1'));
  await driver.rounds(3);
  expect(driver.complaints).toEqual([]); // a node that drains is not unhealthy
  await apply(n2, n3);
  await driver.rounds(2);
  await echoes(rig, connections.get('n1'));
  expect(await rig.servers()).toContain('nodes4/n1');
  await rig.lab.client.ask({ do: 'hangUp', id: connections.get('n1') ?? 0 });
  await expect.poll(() => rig.servers(), patience).not.toContain('nodes4/n1');

  await apply(n1, n2, n3);
  await expect.poll(() => answering(rig), patience).toBe('n1 n2 n3');
  await apply();
  await driver.rounds(2);
  expect(await rig.fetch('10.50.0.1')).toHaveProperty('error');
  await apply(n2);
  await expect.poll(async () => (await rig.fetch('10.50.0.1')).text, patience).toBe('n2');
  expect((await driver.proxy.observe(rig.signal)).pid).toBe(pid);
});

test('a drained node is judged by its checks: neither the drain nor its end is reported, its silence is', async () => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const [first, second] = rig.lab.nodes;
  if (first === undefined || second === undefined) throw new Error('two nodes');
  const table = (state: 'active' | 'drain') =>
    rig.table(listeners, [
      { node: first, state },
      { node: second, state: 'active' },
    ]);
  const health = async (): Promise<string> => {
    const { servers } = await driver.proxy.observe(rig.signal);
    return servers
      .filter(({ node, family }) => node === 'n1' && family === 4)
      .map((server) => `${server.state} ${server.health} ${server.sinceMs === undefined ? 'always' : 'since'}`)
      .join();
  };
  await driver.proxy.upsert(table('active'), rig.signal);
  driver.watch();
  await driver.rounds(2);
  await driver.proxy.upsert(table('drain'), rig.signal);
  await driver.rounds(4);
  expect(await health()).toBe('drain up since');
  await driver.proxy.upsert(table('active'), rig.signal);
  await driver.rounds(4);
  expect(driver.complaints).toEqual([]);

  await driver.proxy.upsert(table('drain'), rig.signal);
  await driver.rounds(1);
  await first.ask({ do: 'setStatus', port: 10_256, status: 503 });
  await expect.poll(health, patience).toBe('drain unhealthy since');
  await first.setSilent(true);
  await expect.poll(health, patience).toBe('drain silent since');
  await first.setSilent(false);
  await first.ask({ do: 'setStatus', port: 10_256, status: 200 });
  await expect.poll(health, patience).toBe('drain up since');
  expect(await answering(rig)).toBe('n2');
});

test.each([
  ["HAProxy's checks decide", true],
  ['our own probe decides', false],
])('the last connections of a node that is removed and then silent are reset: %s', async (_, healthz) => {
  await using rig = await startRig({ nodes: 2, healthz });
  const driver = rig.newDriver();
  const [first, second] = rig.lab.nodes;
  if (first === undefined || second === undefined) throw new Error('two nodes');
  await driver.proxy.upsert(rig.table(listeners), rig.signal);
  driver.watch();
  const connections = await connectionPerNode(rig);
  const without = rig.table(listeners, [{ node: second, state: 'active' }]);
  await driver.proxy.upsert(without, rig.signal);
  await driver.proxy.prune(without, rig.signal);
  await driver.rounds(2);
  await echoes(rig, connections.get('n1'));
  await first.setSilent(true);
  await expect.poll(() => ending(rig, connections.get('n1')), patience).not.toBe('open');
  await expect.poll(() => rig.servers(), patience).not.toContain('nodes4/n1');
});

test('connections to a silent node are also reset on the workers that a reload has replaced, and no others', async () => {
  await using rig = await startRig({ nodes: 2 });
  const first = rig.newDriver();
  await first.proxy.upsert(rig.table(listeners), rig.signal);
  const connections = await connectionPerNode(rig);
  const { pid } = await first.proxy.observe(rig.signal);
  const second = rig.newDriver({ idleTimeoutSeconds: 1800 }); // another program: reloaded
  await second.proxy.upsert(rig.table(listeners), rig.signal);
  expect((await second.proxy.observe(rig.signal)).pid).not.toBe(pid);
  second.watch();
  await second.rounds(2);
  for (const id of connections.values()) await echoes(rig, id);
  await rig.lab.nodes[0]?.setSilent(true);
  await expect.poll(() => ending(rig, connections.get('n1')), patience).not.toBe('open');
  await echoes(rig, connections.get('n2'));
});

test('a node that is silent for a shorter time than configured gets no new connections and keeps those it has', async () => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver({ silenceMs: 60_000 });
  await driver.proxy.upsert(rig.table(listeners), rig.signal);
  driver.watch();
  const connections = await connectionPerNode(rig);
  await rig.lab.nodes[0]?.setSilent(true);
  await expect.poll(() => states(driver, rig), patience).toBe('n1 silent, n2 up');
  await driver.rounds(6); // twice the time after which the first release reset them
  expect(await answering(rig)).toBe('n2');
  expect(driver.health.verdicts().get(nodeName('n1'))).toEqual({ 4: 'silent', 6: 'silent' });
  await rig.lab.nodes[0]?.setSilent(false);
  await expect.poll(() => states(driver, rig), patience).toBe('n1 up, n2 up');
  for (const id of connections.values()) await echoes(rig, id);
  expect(driver.complaints).toEqual([
    'node does not answer: no new connections',
    'node does not answer: no new connections',
  ]);
});

test('a node that returns with another address is reached there', async () => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const [first, second] = rig.lab.nodes;
  if (first === undefined || second === undefined) throw new Error('two nodes');
  await driver.proxy.upsert(rig.table(listeners, [{ node: first, state: 'active' }]), rig.signal);
  expect(await answering(rig)).toBe('n1');
  await driver.proxy.upsert(rig.table(listeners, [{ node: { ...second, name: 'n1' }, state: 'active' }]), rig.signal);
  expect(await answering(rig)).toBe('n2');
});
