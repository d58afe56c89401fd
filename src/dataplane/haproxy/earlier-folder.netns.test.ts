import { mkdir, readFile, rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { listener } from '../../../test/make/table.ts';
import { allPrepared } from '../../../test/make/unprepared.ts';
import { echoPort, namePort, type Rig, startRig } from '../../../test/netns/haproxy-rig.ts';
import { applyTable } from '../../../test/netns/haproxy-tables.ts';
import { patience } from '../../../test/netns/patience.ts';
import { systemFiles } from '../../main/node/files.ts';

/*
 * A HAProxy with all its files in the folder of an earlier release, and with a program that furiwake can use; that of release 0.1.0 is
 * in port.netns.test.ts.
 */

const web = listener('10.50.0.1', 80, namePort);
const echo = listener('10.50.0.1', 25, echoPort);

async function startEarlier(rig: Rig): Promise<{ readonly folder: string; readonly earlier: string }> {
  const earlier = `${rig.lab.folder}/earlier`;
  const { proxy } = rig.newDriver({ folder: earlier, earlierFolder: `${rig.lab.folder}/none` });
  await proxy.upsert(rig.table([web, echo]), rig.signal);
  return { folder: `${rig.lab.folder}/haproxy`, earlier };
}

test('it is taken over with one reload, and followed by one of the present folder when it ends', async () => {
  await using rig = await startRig({ nodes: 1 });
  const { folder, earlier } = await startEarlier(rig);
  const connection = await rig.connect();

  const driver = rig.newDriver();
  await applyTable(driver, rig.table([web, echo]), rig);
  const watch = driver.watch();
  expect(driver.metric('furiwake_reloads_total')).toBe(1);
  await connection.echoes();
  await expect.poll(async () => (await driver.proxy.observe(rig.signal)).oldWorkers, patience).toBe(1);
  expect(await systemFiles.exists(`${folder}/worker.sock`)).toBe(true);
  expect(await systemFiles.exists(`${folder}/haproxy.pid`)).toBe(false); // the master is that of before

  await watch.end();

  // Another reload, as for an annotation, reads the present configuration as well.
  const next = rig.newDriver({ idleTimeoutSeconds: 1800 });
  await applyTable(next, rig.table([web, echo]), rig);
  expect(next.metric('furiwake_reloads_total')).toBe(1);
  await connection.echoes();
  await connection.hangUp();

  process.kill(Number(await readFile(`${earlier}/haproxy.pid`, 'utf8')), 'SIGKILL');
  next.watch();
  await expect.poll(() => rig.fetch('10.50.0.1'), patience).toMatchObject({ status: 200 });
  await expect.poll(() => systemFiles.exists(earlier), patience).toBe(false);
  expect(await systemFiles.exists(`${folder}/haproxy.pid`)).toBe(true);
  await expect.poll(() => rig.masters(), patience).toBe(1);
});

test.each([
  ['cannot be reloaded', (folder: string) => mkdir(`${folder}/candidate.cfg`, { recursive: true })],
  ['whose folder cannot be written', (_: string, earlier: string) => mkdir(`${earlier}/haproxy.cfg.new`)],
])('one that %s serves on, and takes changes', async (_, break_) => {
  await using rig = await startRig({ nodes: 1 });
  const { folder, earlier } = await startEarlier(rig);
  await break_(folder, earlier);
  const driver = rig.newDriver();
  const table = rig.table([web, echo, listener('10.50.0.2', 80, namePort)]);
  expect(await driver.proxy.upsert(table, rig.signal)).toEqual(allPrepared);
  for (const vip of ['10.50.0.1', '10.50.0.2']) expect(await rig.fetch(vip)).toMatchObject({ status: 200 });
  expect([driver.metric('furiwake_reloads_total'), await rig.masters()]).toEqual([0, 1]);
});

test('one whose folder was removed is replaced, and keeps its connections until they end', async () => {
  await using rig = await startRig({ nodes: 1 });
  const { earlier } = await startEarlier(rig);
  const connection = await rig.connect();
  await rm(earlier, { recursive: true });
  await applyTable(rig.newDriver(), rig.table([web]), rig);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
  await connection.echoes();
  await connection.hangUp();
  await expect.poll(() => rig.masters(), patience).toBe(1);
});

test('a stop ends it', async () => {
  await using rig = await startRig({ nodes: 1 });
  await startEarlier(rig);
  expect(await rig.newDriver().proxy.stop(rig.signal)).toBe(true);
  await expect.poll(() => rig.masters(), patience).toBe(0);
});
