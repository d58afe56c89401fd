import { test } from 'vitest';
import { answering, connectionPerNode, echoes, ending, listeners, states } from '../../../test/netns/haproxy-nodes.ts';
import { type Rig, startRig } from '../../../test/netns/haproxy-rig.ts';
import { patience } from '../../../test/netns/patience.ts';

/** The nodes of a rig with two, and its table in these states of the first one. */
function twoNodes(rig: Rig) {
  const [first, second] = rig.lab.nodes;
  if (first === undefined || second === undefined) throw new Error('two nodes');
  const table = (state: 'active' | 'drain') =>
    rig.table(listeners, [
      { node: first, state },
      { node: second, state: 'active' },
    ]);
  return { first, second, table };
}

test.concurrent('nodes are added and removed; an excluded one keeps its connections and is removed after the last', async ({
  expect,
}) => {
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

test.concurrent('when the last healthy node drains, an unhealthy one takes the connections', async ({ expect }) => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const { second, table } = twoNodes(rig);
  await driver.proxy.upsert(table('active'), rig.signal);
  driver.watch();
  await second.ask({ do: 'setStatus', port: 10_256, status: 503 });
  await expect.poll(() => states(driver, rig), patience).toBe('n1 up, n2 unhealthy');
  expect(await answering(rig)).toBe('n1');
  await driver.proxy.upsert(table('drain'), rig.signal);
  await expect.poll(() => states(driver, rig), patience).toBe('n1 drain (up), n2 up');
  await expect.poll(async () => (await rig.fetch('10.50.0.1')).text, patience).toBe('n2');
  expect(await answering(rig)).toBe('n2');
});

test.concurrent('a node that drains and becomes silent is both, and HAProxy says how long it has counted', async ({
  expect,
}) => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const { first, second } = twoNodes(rig);
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

test.concurrent('a node that is drained when HAProxy starts is checked: its silence shows, and it is used after the drain', async ({
  expect,
}) => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const { first, table } = twoNodes(rig);
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

test.concurrent('a drained node is judged by its checks: neither the drain nor its end is reported, its silence is', async ({
  expect,
}) => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const { first, table } = twoNodes(rig);
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

test.concurrent.for([
  ["HAProxy's checks decide", true],
  ['our own probe decides', false],
] as const)(
  'the last connections of a node that is removed and then silent are reset: %s',
  async ([, healthz], { expect }) => {
    await using rig = await startRig({ nodes: 2, healthz });
    const driver = rig.newDriver();
    const { first, second } = twoNodes(rig);
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
  },
);

test.concurrent('a node that returns with another address is reached there', async ({ expect }) => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const { first, second } = twoNodes(rig);
  await driver.proxy.upsert(rig.table(listeners, [{ node: first, state: 'active' }]), rig.signal);
  expect(await answering(rig)).toBe('n1');
  await driver.proxy.upsert(rig.table(listeners, [{ node: { ...second, name: 'n1' }, state: 'active' }]), rig.signal);
  expect(await answering(rig)).toBe('n2');
});
