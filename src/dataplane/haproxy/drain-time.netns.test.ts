import { expect, test } from 'vitest';
import { type SomeOptions, withOptions } from '../../../test/make/options.ts';
import { listener } from '../../../test/make/table.ts';
import { echoPort, type Rig, startRig } from '../../../test/netns/haproxy-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import type { Listener } from '../../core/traffic/table.ts';

const plain = listener('10.50.0.1', 25, echoPort);
const withLimit = (drainMs: number, { server, ...more }: SomeOptions = {}): Listener =>
  withOptions('10.50.0.2', 25, echoPort, { ...more, server: { drainMs, ...server } });
const ofAnother = withOptions('10.50.0.3', 25, echoPort, { profile: { serverTimeoutMs: 61_000 } });

/** A connection to the Service with a limit. */
async function dial(rig: Rig): Promise<{ readonly node: string; readonly end: () => Promise<string | undefined> }> {
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.2', port: 25 });
  const heard = async (): Promise<{ readonly text?: string; readonly end?: string }> =>
    await rig.lab.client.ask({ do: 'heard', id });
  await expect.poll(async () => (await heard()).text, patience).toMatch(/220 n\d\n/);
  return { node: (await heard()).text?.slice(4).trim() ?? '', end: async () => (await heard()).end };
}

/** All nodes, of which this one drains or is removed. */
function nodesWith(rig: Rig, name: string, state: 'drain' | 'removed'): NonNullable<Parameters<Rig['table']>[1]> {
  return rig.lab.nodes.flatMap((node) => {
    if (node.name !== name) return { node, state: 'active' };
    return state === 'drain' ? { node, state } : [];
  });
}

test('the connections to a server that drains end after the drain time of their Service, and those of others continue', async () => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  await driver.proxy.upsert(rig.table([plain, withLimit(1000)]), rig.signal);
  driver.watch();
  const connection = await rig.connect();
  const { end } = await dial(rig);
  await driver.rounds(2);
  expect(await end()).toBe('open');
  const drained = rig.lab.nodes.map((node) => ({ node, state: 'drain' as const }));
  await driver.proxy.upsert(rig.table([plain, withLimit(1000)], drained), rig.signal);
  await expect.poll(end, patience).not.toBe('open');
  await connection.echoes();
});

test.each(['before', 'after', 'together with'])(
  'the drain time of a server that was removed %s a reload is kept by the worker that this replaced',
  async (when) => {
    await using rig = await startRig({ nodes: 2 });
    const driver = rig.newDriver();
    const listeners = [plain, withLimit(8000)];
    await driver.proxy.upsert(rig.table(listeners), rig.signal);
    driver.watch();
    const { node, end } = await dial(rig);
    const others = nodesWith(rig, node, 'removed');
    const last = rig.table([...listeners, ofAnother], others);
    const first = when === 'before' ? rig.table(listeners, others) : rig.table([...listeners, ofAnother]);
    for (const table of when === 'together with' ? [last] : [first, last]) {
      await driver.proxy.upsert(table, rig.signal);
      await driver.proxy.prune(table, rig.signal);
      await driver.rounds(2); // the first one may have begun before. No question from outside finds the old worker
    }
    expect([driver.metric('furiwake_reloads_total'), driver.metric('furiwake_haproxy_old_workers')]).toEqual([1, 1]);
    expect(await end()).toBe('open');
    await expect.poll(end, patience).not.toBe('open');
  },
);

test('a connection continues when the options of its Service change, and ends when its node drains later', async () => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  await driver.proxy.upsert(rig.table([withLimit(1000)]), rig.signal);
  driver.watch();
  const { node, end } = await dial(rig);
  const reloading = withLimit(1000, { profile: { serverTimeoutMs: 61_000 } });
  for (const next of [withLimit(1000, { server: { proxyProtocol: 1 } }), reloading]) {
    await driver.proxy.upsert(rig.table([next]), rig.signal);
    await driver.proxy.prune(rig.table([next]), rig.signal);
    await driver.rounds(4);
    expect(await end()).toBe('open');
  }
  expect(driver.metric('furiwake_haproxy_old_workers')).toBe(1);
  await driver.proxy.upsert(rig.table([reloading], nodesWith(rig, node, 'drain')), rig.signal);
  await expect.poll(end, patience).not.toBe('open');
});
