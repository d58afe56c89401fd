import { expect, test } from 'vitest';
import { withOptions } from '../../../test/make/options.ts';
import { listener, localListener, localTable, type Weights } from '../../../test/make/table.ts';
import { namePort, type Rig, startRig } from '../../../test/netns/haproxy-rig.ts';
import { applyTable, labNodes, shares } from '../../../test/netns/haproxy-tables.ts';
import { patience } from '../../../test/netns/patience.ts';
import { type Listener, listenerKey, localBackend, type TrafficTable } from '../../core/traffic/table.ts';

/*
 * HAProxy adds a node that joins at run time, and no server can track such a server.
 */
const all = listener('10.50.0.3', 80, namePort);
const web = localListener('10.50.0.1', 80, namePort, 'test/web');
const limited = withOptions('10.50.0.2', 80, namePort, { server: { mostConnections: 100 } });
const ofLimited: Listener = { ...limited, backend: localBackend(4, limited.service) };

function tableOf(rig: Rig, nodes: number, weights: Weights): TrafficTable {
  return localTable(
    [
      [web, weights],
      [ofLimited, weights],
    ],
    labNodes(rig).slice(0, nodes),
  );
}

test('a node that joins serves Services with servers of their own at once, and without a reload follows its health', async () => {
  await using rig = await startRig({ nodes: 3 });
  const driver = rig.newDriver();
  await applyTable(driver, tableOf(rig, 2, { n1: 1, n2: 1 }), rig);
  const watch = driver.watch();
  await applyTable(driver, tableOf(rig, 3, { n1: 1, n3: 1 }), rig);
  const serving = async (vip: string): Promise<readonly string[]> => Object.keys(await shares(rig, vip, 10)).toSorted();
  expect(await serving('10.50.0.1')).toEqual(['n1', 'n3']);
  expect(await serving('10.50.0.2')).toEqual(['n1', 'n3']);

  const [, , joined] = rig.lab.nodes;
  const setHealth = async (status: number): Promise<void> => {
    await joined?.ask({ do: 'setStatus', port: 10_256, status });
    const expected = status === 200 ? ['n1', 'n3'] : ['n1'];
    await expect.poll(() => serving('10.50.0.1'), patience).toEqual(expected);
    await expect.poll(() => serving('10.50.0.2'), patience).toEqual(expected);
  };
  await setHealth(503);
  await setHealth(200);
  await setHealth(503);

  // It is healthy again while furiwake is not running.
  await watch.end();
  await joined?.ask({ do: 'setStatus', port: 10_256, status: 200 });
  const next = rig.newDriver();
  await applyTable(next, tableOf(rig, 3, { n1: 1, n3: 1 }), rig);
  next.watch();
  await setHealth(200);
  expect([driver, next].map(({ metric }) => metric('furiwake_reloads_total'))).toEqual([0, 0]);
  expect([...driver.complaints, ...next.complaints].filter((line) => line.includes('failed'))).toEqual([]);
});

test('a node that joins stays in use while no node passes the check and the own probe decides', async () => {
  await using rig = await startRig({ nodes: 2 });
  const driver = rig.newDriver();
  const table = (nodes: number, weights: Weights): TrafficTable => {
    const { listeners, ...more } = tableOf(rig, nodes, weights);
    return { ...more, listeners: listeners.with([[listenerKey(all.address, all.port, all.protocol), all]]) };
  };
  await applyTable(driver, table(1, { n1: 1 }), rig);
  const watch = driver.watch();
  await applyTable(driver, table(2, { n2: 1 }), rig);
  await driver.rounds(1);
  // HAProxy takes all nodes out of use while furiwake is not running.
  await watch.end();
  for (const node of rig.lab.nodes) await node.ask({ do: 'unlisten', port: 10_256 });
  await expect.poll(async () => (await rig.fetch('10.50.0.3')).text, patience).toBeUndefined();
  const next = rig.newDriver();
  await applyTable(next, table(2, { n2: 1 }), rig);
  next.watch();
  const answers = new Set<string | undefined>();
  const over = new AbortController();
  const end = next.rounds(3).finally(() => over.abort());
  while (!over.signal.aborted) answers.add((await rig.fetch('10.50.0.1')).text);
  await end;
  expect([next.metric('furiwake_own_probe family=4'), ...answers]).toEqual([1, 'n2']);
});
