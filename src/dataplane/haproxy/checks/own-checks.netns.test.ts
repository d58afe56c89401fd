import { test } from 'vitest';
import { withOptions } from '../../../../test/make/options.ts';
import { listener } from '../../../../test/make/table.ts';
import { namePort, startRig } from '../../../../test/netns/haproxy-rig.ts';
import { patience } from '../../../../test/netns/patience.ts';

test.concurrent('a check of its own takes a server out of use that answers at its node', async ({ expect }) => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const check = { intervalMs: 500, fall: 2, rise: 1 };
  const checked = withOptions('10.50.0.2', 80, namePort, { server: { check }, profile: { checkPath: '/ready' } });
  const table = rig.table([listener('10.50.0.1', 80, namePort), checked]);
  await driver.proxy.upsert(table, rig.signal);
  driver.watch();
  const namesOf = async (): Promise<readonly string[]> => {
    const names = new Set<string>();
    for (let index = 0; index < 4; index++) names.add((await rig.fetch('10.50.0.2')).text ?? 'nothing');
    return [...names].toSorted();
  };
  expect(await namesOf()).toEqual(['n1', 'n2']);
  await rig.lab.nodes[0]?.ask({ do: 'setStatus', port: namePort, status: 503 });
  await expect.poll(namesOf, patience).toEqual(['n2']);
  expect(await driver.proxy.audit(table, rig.signal)).toBe(0);
  await rig.lab.nodes[0]?.ask({ do: 'setStatus', port: namePort, status: 200 });
  await expect.poll(namesOf, patience).toEqual(['n1', 'n2']);
  const server = (await rig.servers()).find((id) => id.endsWith(`/n1:${namePort}:check500-2-1`)) ?? '';
  await rig.command(`disable health ${server}`);
  expect(await driver.proxy.audit(table, rig.signal)).toBe(1);
  await driver.proxy.prune(rig.table([]), rig.signal);
  const left = async (): Promise<readonly string[]> => (await rig.servers()).filter((id) => id.startsWith('spare'));
  await expect.poll(left, patience).toEqual([]);
});

test.concurrent('a listener is reported as failing while every server fails a check of its own, and no longer than that', async ({
  expect,
}) => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const check = { intervalMs: 500, fall: 2, rise: 1 };
  const checked = withOptions('10.50.0.2', 80, namePort, { server: { check }, profile: { checkPath: '/ready' } });
  await driver.proxy.upsert(rig.table([listener('10.50.0.1', 80, namePort), checked]), rig.signal);
  driver.watch();
  let told = 0;
  driver.proxy.onServers(() => told++);
  for (const node of rig.lab.nodes) await node.ask({ do: 'setStatus', port: namePort, status: 503 });
  await expect.poll(() => [...driver.proxy.failing()], patience).toEqual([checked.key]);
  await rig.lab.nodes[1]?.ask({ do: 'setStatus', port: namePort, status: 200 });
  await expect.poll(() => [...driver.proxy.failing()], patience).toEqual([]);
  expect(told).toBe(2);
});

test.concurrent('a server with a check of its own gets no connections while its node is silent; then its check decides again', async ({
  expect,
}) => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const check = { intervalMs: 3_600_000, fall: 1, rise: 1 };
  const checked = withOptions('10.50.0.2', 80, namePort, { server: { check } });
  const table = rig.table([listener('10.50.0.1', 80, namePort), checked]);
  await driver.proxy.upsert(table, rig.signal);
  driver.watch();
  await rig.lab.nodes[0]?.setSilent(true);
  const first = (await rig.servers()).find((id) => id.includes(`/n1:${namePort}`));
  await expect.poll(() => rig.outOfUse(), patience).toEqual([`${first} drain`]);
  expect(await driver.proxy.audit(table, rig.signal)).toBe(0);
  await driver.proxy.upsert(rig.table([checked]), rig.signal);
  expect(await rig.outOfUse()).toEqual([`${first} drain`]);
  await rig.lab.nodes[0]?.setSilent(false);
  await expect.poll(() => rig.outOfUse(), patience).toEqual([]);
  const names = new Set<unknown>();
  for (let index = 0; index < 4; index++) names.add((await rig.fetch('10.50.0.2')).text);
  expect(names).toEqual(new Set(['n1', 'n2']));
});
