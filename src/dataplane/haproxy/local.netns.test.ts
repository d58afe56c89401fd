import { expect, test } from 'vitest';
import { listener, localListener, localTable, type Weights } from '../../../test/make/table.ts';
import { echoPort, namePort, type Rig, startRig } from '../../../test/netns/haproxy-rig.ts';
import { applyTable, labNodes, shares } from '../../../test/netns/haproxy-tables.ts';
import { patience } from '../../../test/netns/patience.ts';
import { apartBackend } from '../../core/traffic/apart-ports.ts';
import type { Listener, TrafficTable } from '../../core/traffic/table.ts';

const web = localListener('10.50.0.1', 80, namePort, 'test/web');
const web6 = localListener('fd50::1', 80, namePort, 'test/web');
const mail = localListener('10.50.0.1', 25, echoPort, 'test/mail');

function tableOf(rig: Rig, ofWeb: Weights, ofMail: Weights = {}, draining = ''): TrafficTable {
  return localTable(
    [
      [web, ofWeb],
      [web6, ofWeb],
      [mail, ofMail],
    ],
    labNodes(rig, draining),
  );
}

/** As kube-proxy does on a node without endpoints: no new connection reaches it. */
const dropping = `table inet kube-proxy {
  chain input {
    type filter hook input priority filter
    tcp dport ${namePort} tcp flags & (syn | ack) == syn drop
  }
}`;

/** Clients that never stop; `end` resolves with the requests that failed, and their number. */
function load(
  rig: Rig,
  clients: number,
): { end(): Promise<{ readonly failed: readonly unknown[]; readonly total: number }> } {
  const failed: unknown[] = [];
  let total = 0;
  const over = new AbortController();
  const client = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const outcome = await rig.fetch('10.50.0.1');
      total++;
      if (outcome.status !== 200) failed.push(outcome);
    }
  };
  const running = Promise.all(Array.from({ length: clients }, client));
  return {
    end: async () => {
      over.abort();
      await running;
      return { failed, total };
    },
  };
}

test('only nodes with endpoints take connections, each as many as its weight says, in both families', async () => {
  await using rig = await startRig({ nodes: 3 });
  const driver = rig.newDriver();
  await applyTable(driver, tableOf(rig, { n1: 3, n3: 1 }), rig);
  expect(await shares(rig, '10.50.0.1', 40)).toEqual({ n1: 30, n3: 10 });
  expect(await shares(rig, 'fd50::1', 40)).toEqual({ n1: 30, n3: 10 });
  await applyTable(driver, tableOf(rig, { n2: 1, n3: 1 }), rig);
  expect(await shares(rig, '10.50.0.1', 40)).toEqual({ n2: 20, n3: 20 });
  await applyTable(driver, tableOf(rig, { n2: { terminating: 1 }, n3: 1 }), rig);
  expect(await shares(rig, '10.50.0.1', 10)).toEqual({ n3: 10 });
  await applyTable(driver, tableOf(rig, {}), rig);
  expect(await shares(rig, '10.50.0.1', 1)).toEqual({ nothing: 1 });
  expect(driver.metric('furiwake_reloads_total')).toBe(0);
});

test('a port that is apart has other nodes than the rest of its Service, from one change to the next without a lost request', async () => {
  await using rig = await startRig({ nodes: 3 });
  const driver = rig.newDriver();
  const other = localListener('10.50.0.1', 81, namePort, 'test/web');
  const apart = listener('10.50.0.1', 81, namePort, {
    service: web.service,
    backend: apartBackend(4, web.service, { port: 81, protocol: 'TCP' }),
  });
  const table = (port81: Listener, ofPort81: Weights): TrafficTable =>
    localTable(
      [
        [web, { n1: 1, n2: 1 }],
        [port81, ofPort81],
      ],
      labNodes(rig),
    );
  await applyTable(driver, table(other, { n1: 1, n2: 1 }), rig);
  const clients = load(rig, 4);
  await applyTable(driver, table(apart, { n2: 1 }), rig);
  expect(await shares(rig, '10.50.0.1', 10, 81)).toEqual({ n2: 10 });
  await applyTable(driver, table(other, { n1: 1, n2: 1 }), rig);
  expect((await clients.end()).failed).toEqual([]);
  expect(await shares(rig, '10.50.0.1', 10, 81)).toEqual({ n1: 5, n2: 5 });
  expect(driver.metric('furiwake_reloads_total')).toBe(0);
});

test('a node loses its endpoints under load: no request fails, and its connections continue until they end', async () => {
  await using rig = await startRig({ nodes: 3 });
  const driver = rig.newDriver();
  await applyTable(driver, tableOf(rig, { n1: 1, n2: 1 }, { n1: 1 }), rig);
  driver.watch();
  const connection = await rig.connect();
  const clients = load(rig, 8);
  const names = ['n1', 'n2', 'n3'];
  for (let round = 0; round < 30; round++) {
    const rest = names.filter((name) => name !== names[round % 3]);
    await applyTable(driver, tableOf(rig, Object.fromEntries(rest.map((name) => [name, 1])), { n2: 1 }), rig);
    await rig.lab.nodes[round % 3]?.nft(dropping);
    await applyTable(driver, tableOf(rig, Object.fromEntries(rest.map((name) => [name, 2])), { n2: 1 }), rig);
    await rig.lab.nodes[round % 3]?.nft('delete table inet kube-proxy');
  }
  const { failed, total } = await clients.end();
  expect(failed).toEqual([]);
  expect(total).toBeGreaterThan(100);
  await connection.echoes();
  const old = await rig.servers();
  expect(old.filter((id) => id.startsWith('spare') && id.endsWith('/n1')).length).toBeGreaterThan(0);
  await connection.hangUp();
  await applyTable(driver, tableOf(rig, { n2: 1 }, { n2: 1 }), rig);
  const left = async (): Promise<readonly string[]> =>
    (await rig.servers()).filter((id) => id.startsWith('spare') && !id.endsWith('/n2'));
  await expect.poll(left, patience).toEqual([]);
});

test('a silent node costs no connection while another one has endpoints; its own are reset', async () => {
  await using rig = await startRig({ nodes: 3 });
  const driver = rig.newDriver({ silenceMs: 10_000 }); // by then no connection waits for the node any more
  await applyTable(driver, tableOf(rig, { n1: 1, n2: 1 }, { n1: 1 }), rig);
  driver.watch();
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.1', port: 25 });
  const ask = async () => await rig.lab.client.ask({ do: 'heard', id });
  await expect.poll(async () => (await ask()).text, patience).toBe('220 n1\n');
  await rig.lab.nodes[0]?.setSilent(true);
  const clients = load(rig, 4);
  await expect.poll(async () => (await ask()).end, patience).not.toBe('open');
  expect(await shares(rig, '10.50.0.1', 10)).toEqual({ n2: 10 });
  await rig.lab.nodes[0]?.setSilent(false);
  await expect.poll(() => shares(rig, '10.50.0.1', 10), patience).toEqual({ n1: 5, n2: 5 });
  expect((await clients.end()).failed).toEqual([]);
});

test('a node that an administrator drains gets no new connections, and can be removed', async () => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const weights = { n1: 1, n2: 1 };
  await applyTable(driver, tableOf(rig, weights), rig);
  driver.watch();
  await applyTable(driver, tableOf(rig, weights, {}, 'n1'), rig);
  expect(await shares(rig, '10.50.0.1', 10)).toEqual({ n2: 10 });
  const rest = labNodes(rig).slice(1);
  await applyTable(driver, localTable([[web, weights]], rest), rig);
  const spare = async (): Promise<readonly string[]> => (await rig.servers()).filter((id) => /^spare.*n1$/.test(id));
  await expect.poll(spare, patience).toEqual([]);
  expect(await driver.proxy.audit(localTable([[web, weights]], rest), rig.signal)).toBe(0);
  await applyTable(driver, tableOf(rig, weights), rig);
  await expect.poll(() => shares(rig, '10.50.0.1', 10), patience).toEqual({ n1: 5, n2: 5 });
});

test('more Services than spare backends cost one reload, which drops nothing', async () => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  await applyTable(driver, tableOf(rig, { n1: 1 }, { n1: 1 }), rig);
  driver.watch();
  const connection = await rig.connect();
  const clients = load(rig, 4);
  const many = Array.from({ length: 40 }, (_, index) =>
    localListener(`10.50.1.${index}`, 80, namePort, `test/web-${index}`),
  );
  const table = localTable(
    [
      [web, { n1: 1 }],
      [mail, { n1: 1 }],
      ...many.map((each, index) => [each, { [`n${1 + (index % 2)}`]: 1 }] as const),
    ],
    labNodes(rig),
  );
  await applyTable(driver, table, rig);
  for (const [index, { address }] of many.entries())
    expect(await shares(rig, address.text, 1)).toEqual({ [`n${1 + (index % 2)}`]: 1 });
  expect(driver.metric('furiwake_reloads_total')).toBe(1);
  expect((await clients.end()).failed).toEqual([]);
  await connection.echoes();
  expect(await driver.proxy.audit(table, rig.signal)).toBe(0);
});

test('the next furiwake takes the spare backends over, and HAProxy starts again with their servers', async () => {
  await using rig = await startRig({ nodes: 3 });
  const first = rig.newDriver();
  // In another order than a planner without memory would choose.
  await applyTable(first, localTable([[web, { n1: 1 }]], labNodes(rig)), rig);
  await applyTable(first, tableOf(rig, { n1: 1 }, { n2: 1 }), rig);
  const before = await rig.servers();
  const clients = load(rig, 4);
  const second = rig.newDriver();
  const table = tableOf(rig, { n1: 1 }, { n2: 1 });
  await applyTable(second, table, rig);
  expect(await rig.servers()).toEqual(before);
  expect(await second.proxy.audit(table, rig.signal)).toBe(0);
  expect((await clients.end()).failed).toEqual([]);
  expect(second.metric('furiwake_reloads_total')).toBe(0);

  await applyTable(second, tableOf(rig, { n3: 1 }, { n2: 1 }), rig);
  second.watch();
  process.kill((await second.proxy.observe(rig.signal)).pid, 'SIGKILL');
  await expect.poll(() => second.metric('furiwake_haproxy_restarts_total'), patience).toBe(1);
  await expect.poll(() => shares(rig, '10.50.0.1', 3), patience).toEqual({ n3: 3 });
});

test('external changes to spare backends are found and reverted', async () => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const table = localTable([[web, { n1: 1, n2: 1 }]], labNodes(rig));
  await applyTable(driver, table, rig);
  const id = (await rig.servers()).find((each) => each.startsWith('spare4') && each.endsWith('/n1')) ?? '';
  for (const commands of [
    [`set server ${id} state maint`, `del server ${id}`],
    [`set server ${id} state maint`],
    [`set server ${id} weight 7`],
    [`set server ${id} addr 10.20.0.99`],
    ['add server spare4-9/n1 10.20.0.11 track nodes4/n1', 'set server spare4-9/n1 state ready'],
  ]) {
    await rig.command(...commands);
    expect(await driver.proxy.audit(table, rig.signal)).toBeGreaterThan(0);
    expect(await driver.proxy.audit(table, rig.signal)).toBe(0);
    expect(await shares(rig, '10.50.0.1', 10)).toEqual({ n1: 5, n2: 5 });
  }
});
