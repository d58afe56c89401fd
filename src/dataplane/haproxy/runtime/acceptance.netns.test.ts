import { test } from 'vitest';
import { listener } from '../../../../test/make/table.ts';
import { namePort, startRig } from '../../../../test/netns/haproxy-rig.ts';
import { applyTable } from '../../../../test/netns/haproxy-tables.ts';
import { patience } from '../../../../test/netns/patience.ts';

test.concurrent.for([
  'set maxconn global 1',
  'set maxconn frontend services 1',
  'disable frontend services',
  'shutdown frontend services',
])('%s by another program: HAProxy accepts connections again', async (command, { expect }) => {
  await using rig = await startRig({ nodes: 1 });
  const driver = rig.newDriver();
  await applyTable(driver, rig.table([listener('10.50.0.1', 80, namePort)]), rig);
  expect(await rig.fetch('10.50.0.1')).toMatchObject({ status: 200 });
  await rig.command(command);
  driver.watch();
  const complaints = (): number => driver.complaints.filter((words) => words.includes('what HAProxy accepts')).length;
  await expect.poll(complaints, patience).toBe(1);
  const both = (): Promise<unknown> => Promise.all([rig.fetch('10.50.0.1'), rig.fetch('10.50.0.1')]);
  await expect.poll(both, patience).toMatchObject([{ status: 200 }, { status: 200 }]);
  await driver.rounds(2);
  expect(complaints()).toBe(1);
});

test.concurrent('an audit sets back what another program has set of a server', async ({ expect }) => {
  await using rig = await startRig({ nodes: 1 });
  const driver = rig.newDriver();
  const table = rig.table([listener('10.50.0.1', 80, namePort)]);
  await applyTable(driver, table, rig);
  const of = 'set server nodes4/n1';
  await rig.command(`${of} addr 10.20.0.99 port 1`, `${of} weight 0`, `${of} check-addr 10.20.0.99 port 1`);
  expect(await rig.fetch('10.50.0.1')).not.toHaveProperty('status');
  expect(await driver.proxy.audit(table, rig.signal)).toBe(4);
  expect(await driver.proxy.audit(table, rig.signal)).toBe(0);
  driver.watch();
  await expect.poll(() => rig.fetch('10.50.0.1'), patience).toMatchObject({ status: 200 });
});
