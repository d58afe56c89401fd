import { readFile, rm, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { type Driver, echoPort, namePort, type Rig, startRig } from '../../../test/netns/haproxy-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { listener } from '../../../test/make/table.ts';
import { fastClock } from '../../../test/sim/virtual-clock.ts';
import type { TrafficTable } from '../../core/traffic/table.ts';
import { RuntimeError, type Sockets, unixSockets } from './client.ts';
import { systemClock } from '../../main/node/clock.ts';
import { systemFiles } from '../../main/node/files.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Files } from '../../ports/files.ts';

const rows = [listener('10.50.0.1', 80, namePort), listener('fd50::1', 80, namePort)];

async function apply({ proxy }: Driver, table: TrafficTable, signal: AbortSignal): Promise<void> {
  await proxy.upsert(table, signal);
  await proxy.prune(table, signal);
}

async function masterOf(rig: Rig): Promise<number> {
  const pid = Number(await readFile(`${rig.lab.folder}/haproxy/haproxy.pid`, 'utf8'));
  expect(pid).toBeGreaterThan(1); // 0 would be all of us
  return pid;
}

/** Milliseconds until another worker than `pid` serves the client. */
async function outage({ proxy }: Driver, pid: number, rig: Rig): Promise<number> {
  const start = performance.now();
  const present = (): Promise<number> =>
    proxy.observe(rig.signal).then(
      (seen) => seen.pid,
      () => pid,
    );
  await expect.poll(present, { ...patience, interval: 5 }).not.toBe(pid);
  // A packet without a listener is lost, and the client's kernel repeats it only after a second.
  const quickly = { do: 'fetch', address: '10.50.0.1', port: 80, timeoutMs: 250 } as const;
  await expect.poll(() => rig.lab.client.ask(quickly), { ...patience, interval: 5 }).toMatchObject({ status: 200 });
  return performance.now() - start;
}

test('killed with -9, worker or master, before and after an adoption, it is back at once with its rows', async () => {
  await using rig = await startRig({ nodes: 1 });
  const table = rig.table(rows);
  const restartsMetric = 'furiwake_haproxy_restarts_total';
  for (const life of ['started', 'adopted'] as const) {
    const waits: { readonly ms: number; readonly restarts: number }[] = [];
    const clock: Clock = {
      ...systemClock,
      sleep: (ms, signal) => {
        waits.push({ ms, restarts: driver.metric(restartsMetric) });
        return systemClock.sleep(ms, signal);
      },
    };
    const driver = rig.newDriver({ clock });
    await driver.proxy.upsert(table, rig.signal);
    await apply(driver, table, rig.signal);
    const watch = driver.watch();
    for (const [restarts, victim] of (['worker', 'master'] as const).entries()) {
      const before = await driver.proxy.observe(rig.signal);
      process.kill(victim === 'worker' ? before.pid : await masterOf(rig), 'SIGKILL');
      const outageMs = await outage(driver, before.pid, rig);
      console.info(`${victim} killed, ${life} by us: another one serves after ${Math.round(outageMs)} ms`);
      expect(outageMs).toBeLessThan(10_000); // some 0.1 s on a quiet machine; the bound is for a busy one
      // However slow the machine is: nothing was waited for but the process itself, and the next round.
      const waited = waits.filter((wait) => wait.restarts === restarts && wait.ms !== 1000);
      expect(Math.max(0, ...waited.map(({ ms }) => ms))).toBeLessThan(50);
      expect(await rig.fetch('fd50::1')).toMatchObject({ status: 200 });
      const after = await driver.proxy.observe(rig.signal);
      expect(after.servers.map(({ node, state }) => `${node} ${state}`)).toEqual(['n1 up', 'n1 up']);
    }
    await expect.poll(() => driver.metric(restartsMetric), patience).toBe(2);
    await watch.end();
  }
});

test('a HAProxy that is started by hand on the files gets the last table', async () => {
  await using rig = await startRig({ nodes: 1 });
  const driver = rig.newDriver();
  await driver.proxy.upsert(rig.table([], []), rig.signal);
  const table = rig.table(rows);
  await apply(driver, table, rig.signal);
  await driver.watch().end(); // what came by commands is written by then
  await driver.proxy.stop(rig.signal);
  const folder = `${rig.lab.folder}/haproxy`;
  await rig.lab.balancer.exec('haproxy', '-W', '-D', '-f', `${folder}/haproxy.cfg`, '-p', `${folder}/haproxy.pid`);
  for (const vip of ['10.50.0.1', 'fd50::1']) expect(await rig.fetch(vip)).toMatchObject({ text: 'n1' });
  // Which is also what the next furiwake finds.
  expect(await rig.newDriver().proxy.audit(table, rig.signal)).toBe(0);
});

test('killed while the disk is full, it is back with the rows that the file lacks', async () => {
  await using rig = await startRig({ nodes: 1 });
  let isFull = false;
  const write: Files['write'] = async (...args) => {
    if (isFull) throw new Error('ENOSPC: no space left on device');
    await systemFiles.write(...args);
  };
  const driver = rig.newDriver({ files: { ...systemFiles, write } });
  await driver.proxy.upsert(rig.table([]), rig.signal);
  await apply(driver, rig.table([]), rig.signal);
  const watch = driver.watch();
  isFull = true;
  await apply(driver, rig.table(rows), rig.signal);
  const { pid } = await driver.proxy.observe(rig.signal);
  process.kill(pid, 'SIGKILL');
  await outage(driver, pid, rig);
  expect(await rig.fetch('fd50::1')).toMatchObject({ status: 200 });
  isFull = false;
  const map = (): Promise<string> => readFile(`${rig.lab.folder}/haproxy/services.map`, 'utf8');
  await expect.poll(map, patience).toContain('10.50.0.1|80 ');
  await watch.end();
});

test('a change that finds the process dead starts it with the change', async () => {
  await using rig = await startRig({ nodes: 1 });
  const driver = rig.newDriver();
  await driver.proxy.upsert(rig.table([]), rig.signal);
  process.kill(await masterOf(rig), 'SIGKILL');
  // Its worker ends, too, a moment later; till then it takes what it is told.
  await expect.poll(() => driver.proxy.observe(rig.signal).catch(() => 'gone'), patience).toBe('gone');
  await apply(driver, rig.table(rows), rig.signal);
  await expect.poll(() => rig.fetch('10.50.0.1'), patience).toMatchObject({ status: 200 });
});

test('the next furiwake adopts the process as it is: same worker, rows that nobody wants any longer taken away', async () => {
  await using rig = await startRig({ nodes: 1 });
  const first = rig.newDriver();
  await first.proxy.upsert(rig.table([]), rig.signal);
  await apply(first, rig.table([...rows, listener('10.50.0.9', 80, namePort)]), rig.signal);
  const { pid } = await first.proxy.observe(rig.signal);

  const second = rig.newDriver();
  await second.proxy.upsert(rig.table(rows), rig.signal);
  await apply(second, rig.table(rows), rig.signal);
  expect((await second.proxy.observe(rig.signal)).pid).toBe(pid);
  expect(second.metric('furiwake_reloads_total')).toBe(0);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
  expect(await rig.fetch('10.50.0.9')).toHaveProperty('error');
});

test('a process with another program is adopted by one reload that drops no connection', async () => {
  await using rig = await startRig({ nodes: 1 });
  const table = rig.table([...rows, listener('10.50.0.1', 25, 30_025)]);
  const first = rig.newDriver();
  await first.proxy.upsert(table, rig.signal);
  const { pid } = await first.proxy.observe(rig.signal);
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.1', port: 25 });

  const second = rig.newDriver({ idleTimeoutSeconds: 1800 });
  await second.proxy.upsert(table, rig.signal);
  expect(second.metric('furiwake_reloads_total')).toBe(1);
  expect((await second.proxy.observe(rig.signal)).pid).not.toBe(pid);
  await rig.lab.client.ask({ do: 'say', id, text: 'still there' });
  await expect
    .poll(() => rig.lab.client.ask({ do: 'heard', id }), patience)
    .toEqual({ text: '220 n1\nstill there', end: 'open' });
});

test('a reload right after the start, when the master may lose a signal, succeeds', async () => {
  await using rig = await startRig({ nodes: 1 });
  for (const idleTimeoutSeconds of [3600, 1800, 900]) {
    const driver = rig.newDriver({ idleTimeoutSeconds });
    await apply(driver, rig.table(rows), rig.signal);
    expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
    expect(driver.metric('furiwake_reloads_total')).toBe(idleTimeoutSeconds === 3600 ? 0 : 1);
  }
});

test('after an external reload the new worker is kept as the old one was', async () => {
  await using rig = await startRig({ nodes: 1, healthz: false });
  const driver = rig.newDriver();
  await driver.proxy.upsert(rig.table(rows), rig.signal);
  driver.watch();
  const { pid } = await driver.proxy.observe(rig.signal);
  await driver.rounds(2); // a master that has just started would lose the signal
  process.kill(await masterOf(rig), 'SIGUSR2');
  await expect.poll(async () => (await driver.proxy.observe(rig.signal)).pid, patience).not.toBe(pid);
  // Its checks, which fail here, are switched off again.
  await driver.rounds(3);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
  const next = await driver.proxy.observe(rig.signal);
  process.kill(next.pid, 'SIGKILL');
  expect(await outage(driver, next.pid, rig)).toBeLessThan(10_000);
});

/** Master processes of HAProxy on the balancer. */
async function masters(rig: Rig): Promise<number> {
  const inside = await rig.lab.balancer.exec('ip', 'netns', 'pids', rig.lab.balancer.namespace);
  const statuses = await Promise.all(
    inside
      .trim()
      .split('\n')
      .map((pid) => readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')),
  );
  return statuses.filter((status) => /^Name:\thaproxy$/m.test(status) && /^PPid:\t1$/m.test(status)).length;
}

/** A connection of the client through HAProxy that has heard the greeting. */
async function connect(rig: Rig): Promise<{ echoes(): Promise<void>; hangUp(): Promise<unknown> }> {
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.1', port: 25 });
  const heard = async (): Promise<string> => (await rig.lab.client.ask({ do: 'heard', id })).text ?? '';
  await expect.poll(heard, patience).toMatch(/^220 /);
  return {
    echoes: async () => {
      const word = `word ${performance.now()}`;
      await rig.lab.client.ask({ do: 'say', id, text: word });
      await expect.poll(heard, patience).toContain(word);
    },
    hangUp: () => rig.lab.client.ask({ do: 'hangUp', id }),
  };
}

const withEcho = [...rows, listener('10.50.0.1', 25, echoPort)];

test.each([
  ['whose socket was removed', (folder: string): Promise<void> => rm(`${folder}/worker.sock`)],
  ['whose state directory was removed', (folder: string): Promise<void> => rm(folder, { recursive: true })],
])('a process %s is replaced, takes no new connection, and keeps those it has until they end', async (_, remove) => {
  await using rig = await startRig({ nodes: 1 });
  const first = rig.newDriver();
  await first.proxy.upsert(rig.table(withEcho), rig.signal);
  const connection = await connect(rig);
  await remove(`${rig.lab.folder}/haproxy`);
  const second = rig.newDriver();
  await apply(second, rig.table([listener('10.50.0.2', 80, namePort)]), rig.signal);
  for (let request = 0; request < 20; request++) {
    expect(await rig.fetch('10.50.0.2')).toMatchObject({ status: 200 });
    expect(await rig.fetch('10.50.0.1')).toHaveProperty('error');
  }
  await connection.echoes();
  await connection.hangUp();
  await expect.poll(() => masters(rig), patience).toBe(1);
  expect(await rig.fetch('10.50.0.2')).toMatchObject({ status: 200 });
});

test('a process of another state directory gives up the port, and keeps its connections until they end', async () => {
  await using rig = await startRig({ nodes: 1 });
  const first = rig.newDriver({ folder: `${rig.lab.folder}/other` });
  await first.proxy.upsert(rig.table(withEcho), rig.signal);
  const connection = await connect(rig);
  const second = rig.newDriver();
  await apply(second, rig.table([listener('10.50.0.2', 80, namePort)]), rig.signal);
  for (let request = 0; request < 20; request++) {
    expect(await rig.fetch('10.50.0.2')).toMatchObject({ status: 200 });
    expect(await rig.fetch('10.50.0.1')).toHaveProperty('error');
  }
  await connection.echoes();
  await connection.hangUp();
  await expect.poll(() => masters(rig), patience).toBe(1);
});

test('a frozen process is replaced after 30 s of silence, its worker killed with its master', async () => {
  await using rig = await startRig({ nodes: 1 });
  const clock = fastClock(10);
  const driver = rig.newDriver({ clock });
  await driver.proxy.upsert(rig.table(rows), rig.signal);
  driver.watch();
  const { pid } = await driver.proxy.observe(rig.signal);
  const frozenAtMs = clock.monotonic();
  process.kill(pid, 'SIGSTOP');
  await expect.poll(() => driver.proxy.trouble(), patience).toContain('answers neither commands nor requests');
  expect(driver.metric('furiwake_haproxy_up')).toBe(0);
  await expect
    .poll(() => driver.proxy.observe(rig.signal).catch(() => ({ pid })), { timeout: 30_000 })
    .not.toMatchObject({ pid });
  expect(clock.monotonic() - frozenAtMs).toBeGreaterThan(30_000);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
  await expect.poll(() => driver.proxy.trouble(), patience).toBeUndefined();
  expect(await masters(rig)).toBe(1);
});

test('a process whose command socket alone is silent is left alone, and reported', async () => {
  await using rig = await startRig({ nodes: 1 });
  const clock = fastClock(10);
  const real = unixSockets({ clock });
  let isSlow = false;
  const sockets: Sockets = {
    ...real,
    request: (path, text, signal) => {
      if (isSlow && path.endsWith('/worker.sock'))
        return Promise.reject(new RuntimeError('silent', `${path}: no answer within 3 s`));
      return real.request(path, text, signal);
    },
  };
  const driver = rig.newDriver({ clock, sockets });
  await driver.proxy.upsert(rig.table(withEcho), rig.signal);
  driver.watch();
  const connection = await connect(rig);
  isSlow = true;
  const slowAtMs = clock.monotonic();
  await expect.poll(() => driver.proxy.trouble(), patience).toContain('its command socket does not answer');
  await expect(driver.proxy.upsert(rig.table(rows), rig.signal)).rejects.toThrow('command socket does not answer');
  await expect.poll(() => clock.monotonic() - slowAtMs, patience).toBeGreaterThan(40_000);
  await connection.echoes();
  expect(driver.metric('furiwake_haproxy_up')).toBe(1);
  expect(driver.complaints.filter((line) => line.includes('command socket'))).toHaveLength(1);
  isSlow = false;
  await expect.poll(() => driver.proxy.trouble(), patience).toBeUndefined();
  expect(driver.metric('furiwake_haproxy_restarts_total')).toBe(0);
});

test('stale sockets and a pid file with somebody else’s number stop nothing', async () => {
  await using rig = await startRig({ nodes: 1 });
  const first = rig.newDriver();
  await first.proxy.upsert(rig.table(rows), rig.signal);
  process.kill(await masterOf(rig), 'SIGKILL');
  await expect.poll(() => first.proxy.observe(rig.signal).catch(() => 'gone'), patience).toBe('gone');
  await writeFile(`${rig.lab.folder}/haproxy/haproxy.pid`, `${process.pid}\n`);
  const second = rig.newDriver();
  await second.proxy.upsert(rig.table(rows), rig.signal);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
});

test('a configuration that HAProxy refuses is not put in force: error in its words, files and traffic as before', async () => {
  await using rig = await startRig({ nodes: 1 });
  const table = rig.table(rows);
  await rig.newDriver().proxy.upsert(table, rig.signal);
  const config = await readFile(`${rig.lab.folder}/haproxy/haproxy.cfg`, 'utf8');
  const broken = rig.newDriver({ idleTimeoutSeconds: 99_999_999_999 });
  await expect(broken.proxy.upsert(table, rig.signal)).rejects.toMatchObject({
    code: 'HAPROXY_CONFIG_REFUSED',
    words: expect.stringContaining('timer overflow'),
  });
  expect(await readFile(`${rig.lab.folder}/haproxy/haproxy.cfg`, 'utf8')).toBe(config);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
});

test('a foreign program on the port is named, in the same words at each attempt, and nothing is started beside it', async () => {
  await using rig = await startRig({ nodes: 1 });
  await rig.lab.balancer.ask({ do: 'serveHttp', address: '127.0.0.1', port: 292, body: '' });
  const driver = rig.newDriver();
  const attempt = (): Promise<unknown> =>
    driver.proxy.upsert(rig.table(rows), rig.signal).catch((error: unknown) => error);
  const first = await attempt();
  expect(first).toMatchObject({
    code: 'HAPROXY_PORT_HELD',
    message: expect.stringMatching(/^port 292 of 127\.0\.0\.1 is held by \S+ \(process \d+\): stop it$/),
  });
  expect(await attempt()).toMatchObject({ message: first instanceof Error ? first.message : '' });
  await rig.lab.balancer.ask({ do: 'unlisten', address: '127.0.0.1', port: 292 });
  await expect.poll(attempt, patience).toEqual(new Map());
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
});

test('a program that listens on the same port of another address is no obstacle', async () => {
  await using rig = await startRig({ nodes: 1 });
  await rig.lab.balancer.ask({ do: 'serveHttp', address: '10.20.0.1', port: 292, body: '' });
  await rig.newDriver().proxy.upsert(rig.table(rows), rig.signal);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
});
