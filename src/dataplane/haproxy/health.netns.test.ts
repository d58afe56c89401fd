import { test } from 'vitest';
import { nodeName } from '../../../test/make/table.ts';
import { answering, connectionPerNode, echoes, ending, listeners, states } from '../../../test/netns/haproxy-nodes.ts';
import { startRig } from '../../../test/netns/haproxy-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import type { Proxy } from '../../ports/proxy.ts';

/** Of all listeners. */
async function openConnections(proxy: Proxy): Promise<number> {
  const counters = await proxy.counters(AbortSignal.timeout(5_000));
  return [...counters.values()].reduce((sum, { connections }) => sum + connections, 0);
}

test.concurrent('a silent node: no new connection fails, its connections are reset, and it recovers', async ({
  expect,
}) => {
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

test.concurrent('the next furiwake knows at once that a node is silent, and since when it knows that', async ({
  expect,
}) => {
  await using rig = await startRig({ nodes: 2 });
  const first = rig.newDriver();
  await first.proxy.upsert(rig.table(listeners), rig.signal);
  const watch = first.watch();
  await rig.lab.nodes[0]?.setSilent(true);
  await expect.poll(() => states(first, rig), patience).toBe('n1 silent, n2 up');
  await watch.end();
  const second = rig.newDriver();
  await second.proxy.upsert(rig.table(listeners), rig.signal);
  second.watch();
  await expect.poll(() => states(second, rig), patience).toBe('n1 silent, n2 up');
  const health = second.health.families[4];
  expect(health.stateOf(nodeName('n1')).sinceMs).toBeUndefined();
  expect(['n1', 'n2'].map((name) => health.silentSince(nodeName(name)))).toEqual([expect.any(Number), undefined]);
});

test.concurrent('a node that answers unhealthy, or refuses, gets no new connections and keeps those it has', async ({
  expect,
}) => {
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

test.concurrent('if no node answers on the health port the own probe decides: a node that refuses is alive, only a silent one is dead', async ({
  expect,
}) => {
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
  expect(driver.complaints.at(-1)).toBe('node does not answer, and no other node in use does: it stays in use');
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

test.concurrent('when the health port becomes silent on all nodes at once, none stays out of use and no connection is reset', async ({
  expect,
}) => {
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

test.concurrent('connections to a silent node are also reset on the workers that a reload has replaced, and no others', async ({
  expect,
}) => {
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
  expect(second.metric('furiwake_haproxy_old_workers')).toBe(1);
  expect(await second.proxy.observe(rig.signal)).toMatchObject({
    connections: 0,
    oldWorkers: 1,
    oldConnections: 2,
    servers: [
      { node: 'n1', family: 4, connections: 1 },
      { node: 'n2', family: 4, connections: 1 },
      { node: 'n1', family: 6, connections: 0 },
      { node: 'n2', family: 6, connections: 0 },
    ],
  });
  expect(second.metric('furiwake_connections')).toBe(2);
  expect(await openConnections(second.proxy)).toBe(2);
  for (const id of connections.values()) await echoes(rig, id);
  await rig.lab.nodes[0]?.setSilent(true);
  await expect.poll(() => ending(rig, connections.get('n1')), patience).not.toBe('open');
  await echoes(rig, connections.get('n2'));
  await expect.poll(() => openConnections(second.proxy), patience).toBe(1);
  await rig.lab.client.ask({ do: 'hangUp', id: connections.get('n2') ?? 0 });
  await expect.poll(() => second.metric('furiwake_haproxy_old_workers'), patience).toBe(0);
  await expect.poll(() => second.metric('furiwake_connections'), patience).toBe(0);
});

test.concurrent('a node that is silent for a shorter time than configured gets no new connections and keeps those it has', async ({
  expect,
}) => {
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
