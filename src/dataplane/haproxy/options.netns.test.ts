import { expect, test } from 'vitest';
import { type SomeOptions, withOptions } from '../../../test/make/options.ts';
import { listener, localTable, node as tableNode } from '../../../test/make/table.ts';
import { echoPort, namePort, type Rig, startRig } from '../../../test/netns/haproxy-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { allPrepared } from '../../../test/make/unprepared.ts';
import { type Listener, localBackend } from '../../core/traffic/table.ts';

/** What the echoing node got in front of the client's own bytes, and its name. */
async function hears(rig: Rig, vip: string, port: number): Promise<string> {
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: vip, port });
  await rig.lab.client.ask({ do: 'say', id, text: 'hello' });
  const heard = async (): Promise<string> => (await rig.lab.client.ask({ do: 'heard', id })).text ?? '';
  await expect.poll(heard, patience).toContain('hello');
  const text = await heard();
  await rig.lab.client.ask({ do: 'hangUp', id });
  return text;
}

test('a PROXY protocol header has the addresses of client and Service, with the port that the client connected to', async () => {
  await using rig = await startRig({ nodes: 1 });
  const driver = rig.newDriver();
  const of = (vip: string, version: 0 | 1 | 2): Listener =>
    withOptions(vip, 25, echoPort, { server: { proxyProtocol: version } });
  const table = rig.table([
    of('10.50.0.1', 1),
    of('fd50::1', 1),
    of('10.50.0.2', 2),
    listener('10.50.0.3', 25, echoPort),
  ]);
  expect(await driver.proxy.upsert(table, rig.signal)).toEqual(allPrepared);
  expect(await hears(rig, '10.50.0.1', 25)).toMatch(/PROXY TCP4 10\.\d+\.\d+\.\d+ 10\.50\.0\.1 \d+ 25\r\nhello/);
  expect(await hears(rig, 'fd50::1', 25)).toMatch(/PROXY TCP6 [\da-f:]+ fd50::1 \d+ 25\r\nhello/);
  // Version 2, TCP over IPv4, twelve bytes: two addresses, of which the second one is 10.50.0.2, and two ports.
  const header = await hears(rig, '10.50.0.2', 25);
  for (const part of ['\r\n\r\n\0\r\nQUIT\n!\u0011\0\u000c', '\n2\0\u0002', '\0\u0019hello'])
    expect(header).toContain(part);
  expect(await hears(rig, '10.50.0.3', 25)).toBe('220 n1\nhello');
  expect(driver.metric('furiwake_reloads_total')).toBe(0);
  expect(await driver.proxy.audit(table, rig.signal)).toBe(0);

  // Another version of a port is in force at once, and a connection with the former one continues.
  const connection = await rig.connect();
  const next = rig.table([of('10.50.0.1', 2), of('fd50::1', 0)]);
  await driver.proxy.upsert(next, rig.signal);
  await driver.proxy.prune(next, rig.signal);
  expect(await hears(rig, '10.50.0.1', 25)).toMatch(/QUIT\n/);
  expect(await hears(rig, 'fd50::1', 25)).toBe('220 n1\nhello');
  await connection.echoes();
  await connection.hangUp();
  expect(driver.metric('furiwake_reloads_total')).toBe(0);
});

test('a node without endpoints of a Local Service with options gets no connection, and a silent one costs none', async () => {
  await using rig = await startRig({ nodes: 3 });
  const driver = rig.newDriver();
  const one = withOptions('10.50.0.1', 25, echoPort, { server: { proxyProtocol: 1 } });
  const local = listener('10.50.0.1', 25, echoPort, { ...one, backend: localBackend(4, one.service) });
  const nodes = rig.lab.nodes.map(({ name, ip4, ip6 }) => tableNode(name, ip4, ip6));
  const namesOf = async (count: number): Promise<readonly string[]> => {
    const names = new Set<string>();
    for (let index = 0; index < count; index++) {
      const text = await hears(rig, '10.50.0.1', 25);
      expect(text).toContain('PROXY TCP4 ');
      names.add(/220 (n\d)/.exec(text)?.[1] ?? text);
    }
    return [...names].toSorted();
  };
  const table = localTable([[local, { n1: 1, n2: 1 }]], nodes);
  await driver.proxy.upsert(table, rig.signal);
  driver.watch();
  expect(await namesOf(6)).toEqual(['n1', 'n2']);
  await driver.proxy.upsert(localTable([[local, { n2: 1, n3: 1 }]], nodes), rig.signal);
  await driver.proxy.prune(localTable([[local, { n2: 1, n3: 1 }]], nodes), rig.signal);
  expect(await namesOf(6)).toEqual(['n2', 'n3']);
  await driver.proxy.upsert(localTable([[local, { n2: 1 }]], nodes), rig.signal);
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.1', port: 25 });
  const held = async (): Promise<{ readonly text?: string; readonly end?: string }> =>
    await rig.lab.client.ask({ do: 'heard', id });
  await expect.poll(async () => (await held()).text, patience).toContain('220 n2');
  await driver.proxy.upsert(localTable([[local, { n2: 1, n3: 1 }]], nodes), rig.signal);
  await rig.lab.nodes[1]?.setSilent(true);
  expect(await namesOf(6)).toContain('n3');
  await expect.poll(() => namesOf(3), patience).toEqual(['n3']);
  await expect.poll(async () => (await held()).end, patience).not.toBe('open');
});

test('the next furiwake takes over what has options, and HAProxy starts again with it', async () => {
  await using rig = await startRig({ nodes: 2 });
  const first = rig.newDriver();
  const proxied = withOptions('10.50.0.1', 25, echoPort, { server: { proxyProtocol: 1 } });
  const balanced = withOptions('10.50.0.2', 80, namePort, { profile: { balance: 'source' } });
  const table = rig.table([balanced, proxied]);
  await first.proxy.upsert(table, rig.signal);
  const before = await rig.servers();
  expect(before).toContain(`spare4-0/n1:${echoPort}:proxy1`);
  const second = rig.newDriver();
  expect(await second.proxy.upsert(table, rig.signal)).toEqual(allPrepared);
  await second.proxy.prune(table, rig.signal);
  expect(await rig.servers()).toEqual(before);
  expect(await second.proxy.audit(table, rig.signal)).toBe(0);
  expect(second.metric('furiwake_reloads_total')).toBe(0);
  second.watch();
  process.kill((await second.proxy.observe(rig.signal)).pid, 'SIGKILL');
  await expect.poll(() => second.metric('furiwake_haproxy_restarts_total'), patience).toBe(1);
  await expect.poll(() => rig.fetch('10.50.0.2'), patience).toMatchObject({ status: 200 });
  expect(await hears(rig, '10.50.0.1', 25)).toContain('PROXY TCP4 ');
});

test('a new profile costs one reload that drops nothing, a known one none', async () => {
  await using rig = await startRig({ nodes: 3 });
  const driver = rig.newDriver();
  const of = (vip: string, profile: SomeOptions['profile'] = {}): Listener =>
    withOptions(vip, 80, namePort, { profile });
  const plain = listener('10.50.0.1', 25, echoPort);
  await driver.proxy.upsert(rig.table([plain]), rig.signal);
  const connection = await rig.connect();
  const source = [plain, of('10.50.0.2', { balance: 'source' }), of('10.50.0.3', { balance: 'leastconn' })];
  await driver.proxy.upsert(rig.table(source), rig.signal);
  expect(driver.metric('furiwake_reloads_total')).toBe(1);
  const namesOf = async (vip: string): Promise<readonly string[]> => {
    const names = new Set<string>();
    for (let index = 0; index < 6; index++) names.add((await rig.fetch(vip)).text ?? 'nothing');
    return [...names].toSorted();
  };
  expect(await namesOf('10.50.0.2')).toHaveLength(1);
  expect(await namesOf('10.50.0.3')).toEqual(['n1', 'n2', 'n3']);
  const more = [...source, of('10.50.0.4', { balance: 'source' }), of('fd50::4', { balance: 'source' })];
  await driver.proxy.upsert(rig.table(more.slice(0, 4)), rig.signal);
  expect(driver.metric('furiwake_reloads_total')).toBe(1);
  expect(await rig.fetch('10.50.0.4')).toMatchObject({ status: 200 });
  const fewer = rig.table([plain, of('10.50.0.4', { balance: 'source' })]);
  await driver.proxy.upsert(fewer, rig.signal);
  await driver.proxy.prune(fewer, rig.signal);
  await driver.proxy.upsert(rig.table(source), rig.signal);
  expect(driver.metric('furiwake_reloads_total')).toBe(1);
  await driver.proxy.upsert(rig.table(more), rig.signal); // IPv6 is another pool
  expect(driver.metric('furiwake_reloads_total')).toBe(2);
  expect(await rig.fetch('fd50::4')).toMatchObject({ status: 200 });
  expect(await driver.proxy.audit(rig.table(more), rig.signal)).toBe(0);
  await connection.echoes();
});

test('an idle connection ends after the timeout of its Service, and those of others continue', async () => {
  await using rig = await startRig({ nodes: 1 });
  const driver = rig.newDriver();
  const idle = withOptions('10.50.0.2', 25, echoPort, { profile: { idleTimeoutMs: 1000 } });
  await driver.proxy.upsert(rig.table([listener('10.50.0.1', 25, echoPort), idle]), rig.signal);
  const connection = await rig.connect();
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.2', port: 25 });
  await expect.poll(async () => (await rig.lab.client.ask({ do: 'heard', id })).text, patience).toBe('220 n1\n');
  await expect.poll(async () => (await rig.lab.client.ask({ do: 'heard', id })).end, patience).not.toBe('open');
  await connection.echoes();
});

test('in HTTP mode a server that sends nothing for its timeout ends the connection', async () => {
  await using rig = await startRig({ nodes: 1 });
  const driver = rig.newDriver();
  const slow = withOptions('10.50.0.1', 25, echoPort, { profile: { mode: 'http', serverTimeoutMs: 1000 } });
  for (const node of rig.lab.nodes) {
    await node.ask({ do: 'unlisten', port: echoPort });
    await node.ask({
      do: 'serveLines',
      port: echoPort,
      greeting: 'HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n',
    });
  }
  await driver.proxy.upsert(rig.table([slow]), rig.signal);
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.1', port: 25 });
  await rig.lab.client.ask({ do: 'say', id, text: 'GET / HTTP/1.1\r\nHost: a\r\n\r\n' });
  await expect.poll(async () => (await rig.lab.client.ask({ do: 'heard', id })).text, patience).toContain('200 OK');
  await expect.poll(async () => (await rig.lab.client.ask({ do: 'heard', id })).end, patience).not.toBe('open');
});

test('a connection beyond the limit of a server waits until another one ends', async () => {
  await using rig = await startRig({ nodes: 1 });
  const driver = rig.newDriver();
  const limited = withOptions('10.50.0.1', 25, echoPort, { server: { mostConnections: 1 }, isMeasured: true });
  await driver.proxy.upsert(rig.table([limited]), rig.signal);
  const connection = await rig.connect();
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.1', port: 25 });
  const heard = async (): Promise<unknown> => await rig.lab.client.ask({ do: 'heard', id });
  await driver.proxy.observe(rig.signal);
  expect(await heard()).toMatchObject({ text: '', end: 'open' });
  await connection.echoes();
  expect(await heard()).toMatchObject({ text: '', end: 'open' });
  const counters = { server: 'n1', connections: 1, total: 1, errors: 0 };
  expect(await driver.proxy.serverCounters(rig.signal)).toMatchObject({
    servers: [counters],
    queued: new Map([[limited.service, 1]]),
    omitted: 0,
  });
  await connection.hangUp();
  await expect.poll(heard, patience).toMatchObject({ text: '220 n1\n' });
});

test('in HTTP mode a server sees the address of the client, and not what the client says', async () => {
  await using rig = await startRig({ nodes: 1 });
  const driver = rig.newDriver();
  const http = ['10.50.0.1', 'fd50::1'].map((vip) => withOptions(vip, 25, echoPort, { profile: { mode: 'http' } }));
  const web = withOptions('10.50.0.3', 80, namePort, { profile: { mode: 'http' } });
  const table = rig.table([...http, web, listener('10.50.0.2', 25, echoPort)]);
  await driver.proxy.upsert(table, rig.signal);
  // The server speaks HTTP and then echoes, so the body of its answer is the request.
  for (const node of rig.lab.nodes) {
    await node.ask({ do: 'unlisten', port: echoPort });
    await node.ask({ do: 'serveLines', port: echoPort, greeting: 'HTTP/1.1 200 OK\r\n\r\n' });
  }
  const answer = async (vip: string): Promise<string> => {
    const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: vip, port: 25 });
    const request = 'GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n\r\n';
    await rig.lab.client.ask({ do: 'say', id, text: request });
    const heard = async (): Promise<string> => (await rig.lab.client.ask({ do: 'heard', id })).text ?? '';
    await expect.poll(heard, patience).toMatch(/x-forwarded-for: .*\r\n/i);
    await rig.lab.client.ask({ do: 'hangUp', id });
    return await heard();
  };
  const four = await answer('10.50.0.1');
  expect(four).toMatch(/forwarded: for=10\.[\d.]+;proto=http\r\n/i);
  expect(four).toMatch(/x-forwarded-for: 10\.[\d.]+\r\n/i);
  expect(four).not.toContain('1.2.3.4');
  expect(await answer('fd50::1')).toMatch(/forwarded: for="\[fd[\da-f:]+\]";proto=http\r\n/i);
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.3', port: 80 });
  await rig.lab.client.ask({ do: 'say', id, text: 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(2) });
  const both = async (): Promise<string | undefined> => (await rig.lab.client.ask({ do: 'heard', id })).text;
  await expect.poll(both, patience).toMatch(/200 OK[^]*n1[^]*200 OK[^]*n1/);
  expect(await hears(rig, '10.50.0.2', 25)).toBe('HTTP/1.1 200 OK\r\n\r\nhello');
  expect(await driver.proxy.audit(table, rig.signal)).toBe(0);
});
