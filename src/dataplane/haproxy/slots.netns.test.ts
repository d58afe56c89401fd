import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { type Driver, echoPort, namePort, type Rig, startRig } from '../../../test/netns/haproxy-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { addressOf, nodeName, row } from '../../../test/netns/rows.ts';
import type { Backend, Profile, TrafficTable } from '../../core/traffic/table.ts';

const plain: Profile = { algorithm: 'roundrobin', proxyProtocol: 'none' };

/** A backend of its own over the named nodes of the rig. */
function own(rig: Rig, names: readonly string[], profile = plain, port = namePort, family: 4 | 6 = 4): Backend {
  const nodes = rig.lab.nodes.filter(({ name }) => names.includes(name));
  const servers = nodes.map(({ name, ip4, ip6 }) => ({
    node: nodeName(name),
    address: addressOf(family === 4 ? ip4 : ip6),
    port,
    weight: 1,
  }));
  return { kind: 'own', profile, servers };
}

async function apply({ proxy }: Driver, table: TrafficTable, rig: Rig): Promise<void> {
  await proxy.upsert(table, rig.signal);
  await proxy.prune(table, rig.signal);
}

async function answers(rig: Rig, vip: string): Promise<string> {
  const names = new Set<string>();
  for (let request = 0; request < 8; request++) {
    const { text, error } = await rig.fetch(vip);
    names.add(text ?? error ?? '');
  }
  return [...names].sort().join(' ');
}

test('backends of their own take slots: one reload for a new profile, none after, no other connection touched', async () => {
  await using rig = await startRig({ nodes: 3 });
  const driver = rig.newDriver();
  const steady = row('10.50.0.1', 25, echoPort);
  await driver.proxy.ensure(rig.table([steady]), rig.signal);
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.1', port: 25 });
  const one = row('10.50.0.2', 80, own(rig, ['n1', 'n2']));
  const six = row('fd50::2', 80, own(rig, ['n3'], plain, namePort, 6));
  await apply(driver, rig.table([steady, one, six]), rig);
  expect(driver.metric('furiwake_reloads_total')).toBe(1);
  expect(await answers(rig, '10.50.0.2')).toBe('n1 n2');
  expect(await answers(rig, 'fd50::2')).toBe('n3');
  const { pid } = await driver.proxy.observe(rig.signal);

  // More of the profile, other servers, gone and come again: all at run time.
  const two = row('10.50.0.3', 80, own(rig, ['n3']));
  await apply(driver, rig.table([steady, one, six, two]), rig);
  expect(await answers(rig, '10.50.0.3')).toBe('n3');
  await apply(driver, rig.table([steady, row('10.50.0.2', 80, own(rig, ['n2', 'n3'])), two]), rig);
  expect(await answers(rig, '10.50.0.2')).toBe('n2 n3');
  expect(await answers(rig, 'fd50::2')).toBe('ECONNRESET');
  const inSlots = (await rig.servers()).filter((server) => server.startsWith('slot_'));
  const bySlot = Object.values(Object.groupBy(inSlots, (server) => server.split('/')[0] ?? '')).map((servers = []) =>
    servers.map((server) => server.split('/')[1]).join(' '),
  );
  expect(bySlot.toSorted()).toEqual(['n2_4_10.20.0.12:30080 n3_4_10.20.0.13:30080', 'n3_4_10.20.0.13:30080']);
  await apply(driver, rig.table([steady, row('10.50.0.2', 80, namePort)]), rig);
  expect(await answers(rig, '10.50.0.2')).toBe('n1 n2 n3');
  expect((await rig.servers()).filter((server) => server.startsWith('slot_'))).toEqual([]);
  expect((await driver.proxy.observe(rig.signal)).pid).toBe(pid);

  await rig.lab.client.ask({ do: 'say', id, text: 'still there' });
  await expect
    .poll(() => rig.lab.client.ask({ do: 'heard', id }), patience)
    .toMatchObject({ end: 'open', text: expect.stringContaining('still there') });
});

test('when slots run out they are doubled by one reload, and those in use are served throughout', async () => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const rows = Array.from({ length: 20 }, (_, index) => row(`10.50.1.${index}`, 80, own(rig, ['n1'])));
  await driver.proxy.ensure(rig.table(rows.slice(0, 8)), rig.signal);
  const ending = new AbortController();
  const failures: string[] = [];
  const asking = (async (): Promise<void> => {
    while (!ending.signal.aborted) {
      const { error, text } = await rig.fetch('10.50.1.0');
      if (text !== 'n1') failures.push(error ?? text ?? '');
    }
  })();
  await apply(driver, rig.table(rows.slice(0, 9)), rig);
  await apply(driver, rig.table(rows), rig);
  expect(driver.metric('furiwake_reloads_total')).toBe(2);
  for (const { address } of rows) expect(await rig.fetch(address.text)).toMatchObject({ text: 'n1' });
  ending.abort();
  await asking;
  expect(failures).toEqual([]);
  expect(driver.complaints).toEqual([]);
});

test('slots survive a crash, and an adoption gives each row the slot that it has', async () => {
  await using rig = await startRig({ nodes: 2 });
  const rows = [row('10.50.0.1', 80, own(rig, ['n1'])), row('10.50.0.2', 80, own(rig, ['n2']))];
  const first = rig.newDriver();
  await first.proxy.ensure(rig.table(rows), rig.signal);
  await apply(first, rig.table(rows.slice(1)), rig);
  const swapped = rig.table(rows.toReversed());
  await apply(first, swapped, rig);
  await first.watch().end(); // it leaves the files as the worker is
  const map = await readFile(`${rig.lab.folder}/haproxy/services.map`, 'utf8');
  const second = rig.newDriver();
  expect(await second.proxy.ensure(swapped, rig.signal)).toBe('adopted');
  await apply(second, swapped, rig);
  await second.watch().end();
  expect(await readFile(`${rig.lab.folder}/haproxy/services.map`, 'utf8')).toBe(map);
  expect(second.metric('furiwake_reloads_total')).toBe(0);
  second.watch();
  process.kill((await second.proxy.observe(rig.signal)).pid, 'SIGKILL');
  await expect.poll(() => second.metric('furiwake_haproxy_restarts_total'), patience).toBe(1);
  expect(await answers(rig, '10.50.0.1')).toBe('n1');
  expect(await answers(rig, '10.50.0.2')).toBe('n2');
});

test('a slot’s server goes with its node’s health, by the one check of the node', async () => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  await driver.proxy.ensure(
    rig.table([row('10.50.0.1', 80, own(rig, ['n1', 'n2'])), row('10.50.0.1', 25, own(rig, ['n1'], plain, echoPort))]),
    rig.signal,
  );
  driver.watch();
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.1', port: 25 });
  await rig.lab.nodes[0]?.ask({ do: 'setStatus', port: 10_256, status: 503 });
  await expect.poll(() => answers(rig, '10.50.0.1'), patience).toBe('n2');
  expect(await rig.lab.client.ask({ do: 'heard', id })).toMatchObject({ end: 'open' });
  await rig.lab.nodes[0]?.setSilent(true);
  const heard = async (): Promise<string | undefined> => (await rig.lab.client.ask({ do: 'heard', id })).end;
  await expect.poll(heard, patience).not.toBe('open');
});

test('PROXY protocol v1 tells the server the client and the address that it dialled', async () => {
  await using rig = await startRig({ nodes: 1 });
  const driver = rig.newDriver();
  const v1: Profile = { algorithm: 'leastconn', proxyProtocol: 'v1' };
  await driver.proxy.ensure(rig.table([row('10.50.0.1', 25, own(rig, ['n1'], v1, echoPort))]), rig.signal);
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.1', port: 25 });
  const heard = async (): Promise<string | undefined> => (await rig.lab.client.ask({ do: 'heard', id })).text;
  await expect.poll(heard, patience).toMatch(/PROXY TCP4 10\.10\.0\.2 10\.50\.0\.1 \d+ 25\r\n/);
});

test('algorithm source sends a client to one server, whatever its port', async () => {
  await using rig = await startRig({ nodes: 3 });
  const driver = rig.newDriver();
  const source: Profile = { algorithm: 'source', proxyProtocol: 'none' };
  await driver.proxy.ensure(rig.table([]), rig.signal);
  await apply(driver, rig.table([row('10.50.0.1', 80, own(rig, ['n1', 'n2', 'n3'], source))]), rig);
  expect(await answers(rig, '10.50.0.1')).toMatch(/^n[123]$/);
});
