import { expect, test } from 'vitest';
import { type SomeOptions, withOptions } from '../../../test/make/options.ts';
import { echoPort, namePort, type Rig, startRig } from '../../../test/netns/haproxy-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import type { Listener } from '../../core/traffic/table.ts';

/** Connects to a node by its greeting, and keeps the connection. */
async function dial(
  { lab: { client } }: Rig,
  address: string,
): Promise<{ readonly id: number; readonly node: string }> {
  const { id = 0 } = await client.ask({ do: 'dial', address, port: 25 });
  const heard = async (): Promise<string> => (await client.ask({ do: 'heard', id })).text ?? '';
  await expect.poll(heard, patience).toMatch(/220 n\d\n/);
  return { id, node: /n\d/.exec(await heard())?.[0] ?? '' };
}

test('leastconn: new connections go to the server with the fewest open ones', async () => {
  await using rig = await startRig({ nodes: 3 });
  const driver = rig.newDriver();
  await driver.proxy.upsert(
    rig.table([withOptions('10.50.0.1', 25, echoPort, { profile: { balance: 'leastconn' }, isMeasured: true })]),
    rig.signal,
  );
  const held = [];
  for (let index = 0; index < 9; index++) held.push(await dial(rig, '10.50.0.1'));
  expect(held.map(({ node }) => node).toSorted()).toEqual(['n1', 'n1', 'n1', 'n2', 'n2', 'n2', 'n3', 'n3', 'n3']);
  for (const { id, node } of held) if (node === 'n2') await rig.lab.client.ask({ do: 'hangUp', id });
  const counts = async (): Promise<readonly number[]> =>
    (await driver.proxy.serverCounters(rig.signal)).servers.map(({ connections }) => connections);
  await expect.poll(counts, patience).toEqual([3, 0, 3]);
  for (let index = 0; index < 3; index++) expect((await dial(rig, '10.50.0.1')).node).toBe('n2');
});

test('slow start: a new server gets fewer connections than its share at first', async () => {
  await using rig = await startRig({ nodes: 3 });
  const driver = rig.newDriver();
  const of = (vip: string, server: SomeOptions['server'] = {}): Listener =>
    withOptions(vip, 80, namePort, { server, profile: { mode: 'http' } });
  const listeners = [of('10.50.0.1', { slowStartMs: 600_000 }), of('10.50.0.2')];
  const table = (count: number): ReturnType<Rig['table']> =>
    rig.table(
      listeners,
      rig.lab.nodes.slice(0, count).map((node) => ({ node, state: 'active' as const })),
    );
  await driver.proxy.upsert(table(2), rig.signal);
  driver.watch();
  await driver.proxy.upsert(table(3), rig.signal);
  const shareOfNew = async (vip: string): Promise<number> => {
    let count = 0;
    for (let index = 0; index < 30; index++) if ((await rig.fetch(vip)).text === 'n3') count++;
    return count;
  };
  await expect.poll(() => shareOfNew('10.50.0.2'), patience).toBe(10);
  expect(await shareOfNew('10.50.0.1')).toBeLessThan(6);
});

test('connect timeout: a server that does not answer is given up after that of the Service', async () => {
  await using rig = await startRig({ nodes: 1 });
  const driver = rig.newDriver({ silenceMs: 600_000 });
  const of = (vip: string, connectTimeoutMs: number): Listener =>
    withOptions(vip, 25, echoPort, { profile: { connectTimeoutMs } });
  await driver.proxy.upsert(rig.table([of('10.50.0.1', 50), of('10.50.0.2', 600_000)]), rig.signal);
  await dial(rig, '10.50.0.2');
  await rig.lab.nodes[0]?.setSilent(true);
  const { client } = rig.lab;
  const [{ id: patient = 0 }, { id: hasty = 0 }] = [
    await client.ask({ do: 'dial', address: '10.50.0.2', port: 25 }),
    await client.ask({ do: 'dial', address: '10.50.0.1', port: 25 }),
  ];
  const endOf = async (id: number): Promise<unknown> => (await client.ask({ do: 'heard', id })).end;
  await expect.poll(() => endOf(hasty), patience).not.toBe('open');
  expect(await endOf(patient)).toBe('open');
});
