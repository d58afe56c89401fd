import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { connectionsBy } from '../../../test/make/connections.ts';
import { listener } from '../../../test/make/table.ts';
import { echoPort, namePort, startRig } from '../../../test/netns/haproxy-rig.ts';
import { applyTable } from '../../../test/netns/haproxy-tables.ts';
import { patience } from '../../../test/netns/patience.ts';
import { allPrepared } from '../../../test/make/unprepared.ts';
import { fastClock } from '../../../test/sim/virtual-clock.ts';
import { systemClock } from '../../main/node/clock.ts';
import { parseInfo } from './runtime/answers.ts';
import { makeRuntimeApi, RuntimeError, type Sockets, unixSockets } from './runtime/client.ts';

const listeners = [listener('10.50.0.1', 80, namePort), listener('fd50::1', 80, namePort)];
const withEcho = [...listeners, listener('10.50.0.1', 25, echoPort)];

test('the HAProxy of release 0.1.0 is taken over with one reload to the new port; its connections continue', async () => {
  await using rig = await startRig({ nodes: 1 });
  const folder = `${rig.lab.folder}/earlier`;
  const config = await readFile(new URL('config/__golden__/release-0.1.0.cfg', import.meta.url), 'utf8');
  await mkdir(folder);
  await writeFile(
    `${folder}/haproxy.cfg`,
    config
      .replaceAll('/var/lib/furiwake/haproxy', folder)
      .replace('192.0.2.11', '10.20.0.11')
      .replace('2001:db8::11', 'fd20::11')
      .replace('maxconn 8900', 'maxconn 1500'),
  );
  const entries = ['10.50.0.1|25 nodes4|30025|750|00', '10.50.0.9|80 nodes4|30080|750|01'];
  await writeFile(`${folder}/services.map`, entries.map((entry) => `${entry}\n`).join(''));
  const args = ['-W', '-D', '-f', `${folder}/haproxy.cfg`, '-p', `${folder}/haproxy.pid`];
  await rig.lab.balancer.exec('haproxy', ...args, '-S', `${folder}/master.sock,mode,600,level,admin`);
  await rig.steerTo(17_100);
  const connection = await rig.connect();

  const driver = rig.newDriver();
  await applyTable(driver, rig.table(withEcho), rig);
  await rig.steerTo(292);
  expect(driver.metric('furiwake_reloads_total')).toBe(1);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
  expect(await rig.fetch('10.50.0.9')).toHaveProperty('error');
  await connection.echoes();
  expect(await rig.lab.balancer.exec('ss', '-Hltn', 'sport = :17100')).toBe('');
  expect(await rig.masters()).toBe(1);
});

test.each([
  ['whose socket was removed', (folder: string): Promise<void> => rm(`${folder}/worker.sock`)],
  ['whose state directory was removed', (folder: string): Promise<void> => rm(folder, { recursive: true })],
])('a process %s is replaced, accepts no new connection, and keeps existing ones until they end', async (_, remove) => {
  await using rig = await startRig({ nodes: 1 });
  const first = rig.newDriver();
  await first.proxy.upsert(rig.table(withEcho), rig.signal);
  const connection = await rig.connect();
  await remove(`${rig.lab.folder}/haproxy`);
  await first.proxy.upsert(rig.table([...withEcho, listener('10.50.0.3', 80, namePort)]), rig.signal);
  expect(first.metric('furiwake_haproxy_restarts_total')).toBe(0);
  const second = rig.newDriver();
  await applyTable(second, rig.table([listener('10.50.0.2', 80, namePort)]), rig);
  for (let request = 0; request < 20; request++) {
    expect(await rig.fetch('10.50.0.2')).toMatchObject({ status: 200 });
    expect(await rig.fetch('10.50.0.1')).toHaveProperty('error');
  }
  await connection.echoes();
  await connection.hangUp();
  await expect.poll(() => rig.masters(), patience).toBe(1);
  expect(await rig.fetch('10.50.0.2')).toMatchObject({ status: 200 });
});

test('a process of another state directory releases the port, and keeps its connections until they end', async () => {
  await using rig = await startRig({ nodes: 1 });
  const first = rig.newDriver({ folder: `${rig.lab.folder}/other` });
  await first.proxy.upsert(rig.table(withEcho), rig.signal);
  const connection = await rig.connect();
  const second = rig.newDriver();
  await applyTable(second, rig.table([listener('10.50.0.2', 80, namePort)]), rig);
  for (let request = 0; request < 20; request++) {
    expect(await rig.fetch('10.50.0.2')).toMatchObject({ status: 200 });
    expect(await rig.fetch('10.50.0.1')).toHaveProperty('error');
  }
  await connection.echoes();
  await connection.hangUp();
  await expect.poll(() => rig.masters(), patience).toBe(1);
});

test('a stop ends also a process of another state directory, with its connections', async () => {
  await using rig = await startRig({ nodes: 1 });
  const other = rig.newDriver({ folder: `${rig.lab.folder}/other` });
  await other.proxy.upsert(rig.table(withEcho), rig.signal);
  await rig.connect();
  const { proxy } = rig.newDriver();
  expect(await proxy.stop(rig.signal)).toBe(true);
  await expect.poll(() => rig.masters(), patience).toBe(0);
  expect(await proxy.stop(rig.signal)).toBe(false);
});

test('a stop ends also a process that has left the port and keeps its connections', async () => {
  await using rig = await startRig({ nodes: 1 });
  const driver = rig.newDriver();
  await applyTable(driver, rig.table(withEcho), rig);
  await rig.connect();
  await rm(`${rig.lab.folder}/haproxy`, { recursive: true });
  await applyTable(driver, rig.table(listeners), rig);
  expect(await rig.masters()).toBe(2);
  expect(await driver.proxy.stop(rig.signal)).toBe(true);
  await expect.poll(() => rig.masters(), patience).toBe(0);
  expect(await driver.proxy.stop(rig.signal)).toBe(false);
});

test('a frozen process is replaced after 30 s of silence, its worker killed with its master', async () => {
  await using rig = await startRig({ nodes: 1 });
  const clock = fastClock(10);
  const driver = rig.newDriver({ clock });
  await driver.proxy.upsert(rig.table(listeners), rig.signal);
  driver.watch();
  const { pid } = await driver.proxy.observe(rig.signal);
  const frozenAtMs = clock.monotonic();
  process.kill(pid, 'SIGSTOP');
  await expect.poll(() => driver.proxy.trouble(), patience).toContain('answers neither commands nor requests');
  expect(driver.metric('furiwake_haproxy_up')).toBe(0);
  await expect.poll(() => driver.proxy.observe(rig.signal).catch(() => ({ pid })), patience).not.toMatchObject({ pid });
  expect(clock.monotonic() - frozenAtMs).toBeGreaterThan(30_000);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
  await expect.poll(() => driver.proxy.trouble(), patience).toBeUndefined();
  expect(await rig.masters()).toBe(1);
});

test('a process of which only the command socket is silent keeps running, and is reported', async () => {
  await using rig = await startRig({ nodes: 1 });
  const clock = fastClock(10);
  const real = unixSockets({ clock });
  let isSlow = false;
  const request: Sockets['request'] = (path, text, signal) => {
    if (isSlow && path.endsWith('/worker.sock'))
      return Promise.reject(new RuntimeError('silent', `${path}: no answer within 3 s`));
    return real.request(path, text, signal);
  };
  const sockets: Sockets = { ...real, request, connect: connectionsBy(request) };
  const driver = rig.newDriver({ clock, sockets });
  await driver.proxy.upsert(rig.table(withEcho), rig.signal);
  driver.watch();
  const connection = await rig.connect();
  isSlow = true;
  const slowAtMs = clock.monotonic();
  await expect.poll(() => driver.proxy.trouble(), patience).toContain('its command socket does not answer');
  await expect(driver.proxy.upsert(rig.table(listeners), rig.signal)).rejects.toThrow('command socket does not answer');
  await expect.poll(() => clock.monotonic() - slowAtMs, patience).toBeGreaterThan(40_000);
  await connection.echoes();
  expect(driver.metric('furiwake_haproxy_up')).toBe(1);
  expect(driver.complaints.filter((line) => line.includes('command socket'))).toHaveLength(1);
  isSlow = false;
  await expect.poll(() => driver.proxy.trouble(), patience).toBeUndefined();
  expect(driver.metric('furiwake_haproxy_restarts_total')).toBe(0);
});

test('a foreign program on the port is named, with the same message at each attempt, and no HAProxy is started beside it', async () => {
  await using rig = await startRig({ nodes: 1 });
  await rig.lab.balancer.ask({ do: 'serveHttp', address: '127.0.0.1', port: 292, body: '' });
  const driver = rig.newDriver();
  const attempt = (): Promise<unknown> =>
    driver.proxy.upsert(rig.table(listeners), rig.signal).catch((error: unknown) => error);
  const first = await attempt();
  expect(first).toMatchObject({
    code: 'PROXY_ABSENT',
    cause: { code: 'HAPROXY_PORT_HELD' },
    message: expect.stringMatching(/^port 292 of 127\.0\.0\.1 is held by \S+ \(PID \d+\): stop it$/),
  });
  expect(await attempt()).toMatchObject({ message: first instanceof Error ? first.message : '' });
  await rig.lab.balancer.ask({ do: 'unlisten', address: '127.0.0.1', port: 292 });
  await expect.poll(attempt, patience).toEqual(allPrepared);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
});

test('a program that listens on the same port of another address does no harm', async () => {
  await using rig = await startRig({ nodes: 1 });
  await rig.lab.balancer.ask({ do: 'serveHttp', address: '10.20.0.1', port: 292, body: '' });
  await rig.newDriver().proxy.upsert(rig.table(listeners), rig.signal);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
});

test('a configuration that another program has edited and loaded is replaced within seconds, also after a restart of furiwake', async () => {
  await using rig = await startRig({ nodes: 1 });
  const first = rig.newDriver();
  const table = rig.table(withEcho);
  await applyTable(first, table, rig);
  const connection = await rig.connect();
  const folder = `${rig.lab.folder}/haproxy`;
  const path = `${folder}/haproxy.cfg`;
  const api = makeRuntimeApi({ sockets: unixSockets({ clock: systemClock }), path: `${folder}/worker.sock` });
  const workerPid = async (): Promise<number> => parseInfo((await api.ask(['show info'], rig.signal))[0] ?? '').pid;
  const edit = async (): Promise<void> => {
    const pid = await workerPid();
    await writeFile(path, (await readFile(path, 'utf8')).replace('bind 127.0.0.1:292', 'bind 127.0.0.1:293'));
    process.kill(Number(await readFile(`${folder}/haproxy.pid`, 'utf8')), 'SIGUSR2');
    await expect.poll(workerPid, patience).not.toBe(pid);
  };
  await edit();
  const running = first.watch();
  const isServed = (): Promise<unknown> => rig.fetch('10.50.0.1');
  await expect.poll(isServed, patience).toMatchObject({ status: 200 });
  await connection.echoes();
  await running.end();
  await edit();
  expect(await rig.fetch('10.50.0.1')).toHaveProperty('error');
  const second = rig.newDriver();
  await applyTable(second, table, rig);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
  expect(second.metric('furiwake_reloads_total')).toBe(1);
  const third = rig.newDriver();
  await applyTable(third, table, rig);
  expect(third.metric('furiwake_reloads_total')).toBe(0);
  await connection.echoes();
});
