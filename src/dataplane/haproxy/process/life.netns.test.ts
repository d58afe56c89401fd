import { readFile, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { type Driver, namePort, type Rig, startRig } from '../../../../test/netns/haproxy-rig.ts';
import { applyTable } from '../../../../test/netns/haproxy-tables.ts';
import { patience } from '../../../../test/netns/patience.ts';
import { listener } from '../../../../test/make/table.ts';
import { allPrepared } from '../../../../test/make/unprepared.ts';
import { systemFiles } from '../../../main/node/files.ts';
import type { Files } from '../../../ports/files.ts';

const listeners = [listener('10.50.0.1', 80, namePort), listener('fd50::1', 80, namePort)];

async function masterOf(rig: Rig): Promise<number> {
  const pid = Number(await readFile(`${rig.lab.folder}/haproxy/haproxy.pid`, 'utf8'));
  expect(pid).toBeGreaterThan(1); // 0 would be all of us
  return pid;
}

/** Milliseconds until a worker other than `pid` serves the client. */
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

// That the next one is started at once is tested in virtual time: `deaths.test.ts`.
test('killed with -9, worker or master, before and after a takeover, it serves its listeners again', async () => {
  await using rig = await startRig({ nodes: 1 });
  const table = rig.table(listeners);
  for (const life of ['started', 'adopted'] as const) {
    const driver = rig.newDriver();
    await driver.proxy.upsert(table, rig.signal);
    await applyTable(driver, table, rig);
    const watch = driver.watch();
    for (const victim of ['worker', 'master'] as const) {
      const before = await driver.proxy.observe(rig.signal);
      process.kill(victim === 'worker' ? before.pid : await masterOf(rig), 'SIGKILL');
      const outageMs = await outage(driver, before.pid, rig);
      console.info(
        `${victim} killed, ${life} killed by the test: another one serves after ${Math.round(outageMs)} ms; ${driver.complaints.join('; ')}`,
      );
      expect(await rig.fetch('fd50::1')).toMatchObject({ status: 200 });
      const after = await driver.proxy.observe(rig.signal);
      expect(after.servers.map(({ node, state }) => `${node} ${state}`)).toEqual(['n1 up', 'n1 up']);
    }
    await expect.poll(() => driver.metric('furiwake_haproxy_restarts_total'), patience).toBe(2);
    await watch.end();
  }
});

test('a HAProxy that is started by hand with the files gets the last table', async () => {
  await using rig = await startRig({ nodes: 1 });
  const driver = rig.newDriver();
  await driver.proxy.upsert(rig.table([], []), rig.signal);
  const table = rig.table(listeners);
  await applyTable(driver, table, rig);
  await driver.watch().end(); // the entries from commands have been written
  await driver.proxy.stop(rig.signal);
  const folder = `${rig.lab.folder}/haproxy`;
  await rig.lab.balancer.exec('haproxy', '-W', '-D', '-f', `${folder}/haproxy.cfg`, '-p', `${folder}/haproxy.pid`);
  for (const vip of ['10.50.0.1', 'fd50::1']) expect(await rig.fetch(vip)).toMatchObject({ text: 'n1' });
  // The next furiwake finds the same.
  expect(await rig.newDriver().proxy.audit(table, rig.signal)).toBe(0);
});

test('killed while the disk is full, it serves again, including listeners that the file lacks', async () => {
  await using rig = await startRig({ nodes: 1 });
  let isFull = false;
  const write: Files['write'] = async (...args) => {
    if (isFull) throw new Error('ENOSPC: no space left on device');
    await systemFiles.write(...args);
  };
  const driver = rig.newDriver({ files: { ...systemFiles, write } });
  await driver.proxy.upsert(rig.table([]), rig.signal);
  await applyTable(driver, rig.table([]), rig);
  const watch = driver.watch();
  isFull = true;
  await applyTable(driver, rig.table(listeners), rig);
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
  // Its worker also ends a moment later, and accepts commands until then.
  await expect.poll(() => driver.proxy.observe(rig.signal).catch(() => 'gone'), patience).toBe('gone');
  await applyTable(driver, rig.table(listeners), rig);
  await expect.poll(() => rig.fetch('10.50.0.1'), patience).toMatchObject({ status: 200 });
});

test('the next furiwake takes over the process as it is: same worker, unwanted listeners removed', async () => {
  await using rig = await startRig({ nodes: 1 });
  const first = rig.newDriver();
  await first.proxy.upsert(rig.table([]), rig.signal);
  await applyTable(first, rig.table([...listeners, listener('10.50.0.9', 80, namePort)]), rig);
  const { pid } = await first.proxy.observe(rig.signal);

  const second = rig.newDriver();
  await second.proxy.upsert(rig.table(listeners), rig.signal);
  await applyTable(second, rig.table(listeners), rig);
  expect((await second.proxy.observe(rig.signal)).pid).toBe(pid);
  expect(second.metric('furiwake_reloads_total')).toBe(0);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
  expect(await rig.fetch('10.50.0.9')).toHaveProperty('error');
});

test('a process with another program is taken over with one reload that drops no connection', async () => {
  await using rig = await startRig({ nodes: 1 });
  const table = rig.table([...listeners, listener('10.50.0.1', 25, 30_025)]);
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
    await applyTable(driver, rig.table(listeners), rig);
    expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
    // A lost signal is sent again: one reload, or two.
    expect(driver.metric('furiwake_reloads_total')).toBeOneOf(idleTimeoutSeconds === 3600 ? [0] : [1, 2]);
  }
});

test('after an external reload the new worker gets the same state', async () => {
  await using rig = await startRig({ nodes: 1, healthz: false });
  const driver = rig.newDriver();
  await driver.proxy.upsert(rig.table(listeners), rig.signal);
  driver.watch();
  const { pid } = await driver.proxy.observe(rig.signal);
  await driver.rounds(2); // a master that has just started would lose the signal
  process.kill(await masterOf(rig), 'SIGUSR2');
  await expect.poll(async () => (await driver.proxy.observe(rig.signal)).pid, patience).not.toBe(pid);
  // Its checks, which fail here, are disabled again.
  await driver.rounds(3);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
  const next = await driver.proxy.observe(rig.signal);
  process.kill(next.pid, 'SIGKILL');
  await outage(driver, next.pid, rig);
});

test('stale sockets and a pid file with the number of another process do no harm', async () => {
  await using rig = await startRig({ nodes: 1 });
  const first = rig.newDriver();
  await first.proxy.upsert(rig.table(listeners), rig.signal);
  process.kill(await masterOf(rig), 'SIGKILL');
  await expect.poll(() => first.proxy.observe(rig.signal).catch(() => 'gone'), patience).toBe('gone');
  await writeFile(`${rig.lab.folder}/haproxy/haproxy.pid`, `${process.pid}\n`);
  const second = rig.newDriver();
  await second.proxy.upsert(rig.table(listeners), rig.signal);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
});

test('a configuration that HAProxy refuses is not used: its message is in the log, and the HAProxy that runs takes changes', async () => {
  await using rig = await startRig({ nodes: 1 });
  const table = rig.table(listeners);
  await rig.newDriver().proxy.upsert(table, rig.signal);
  const config = await readFile(`${rig.lab.folder}/haproxy/haproxy.cfg`, 'utf8');
  const broken = rig.newDriver({ idleTimeoutSeconds: 99_999_999_999 });
  const changed = rig.table([...listeners, listener('10.50.0.2', 8080, namePort)]);
  expect(await broken.proxy.upsert(changed, rig.signal)).toEqual(allPrepared);
  expect(broken.complaints.join('\n')).toContain('timer overflow');
  expect(await readFile(`${rig.lab.folder}/haproxy/haproxy.cfg`, 'utf8')).toBe(config);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
  expect(await rig.fetch('10.50.0.2', 8080)).toMatchObject({ status: 200 });
});
