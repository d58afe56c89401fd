import { expect, test } from 'vitest';
import { makeHealthScene } from '../../test/make/health-scene.ts';
import { nodeName } from '../../test/make/table.ts';

test('a node that becomes silent is logged once, and once more when it is up again, with the duration', async () => {
  const scene = makeHealthScene();
  await scene.round('ok', 'ok');
  expect(scene.changes()).toBe(1);
  for (let second = 0; second < 3; second++) await scene.round('silent', 'ok');
  expect(scene.health.verdicts()).toEqual(
    new Map([
      ['n1', { 4: 'silent' }],
      ['n2', { 4: 'up' }],
    ]),
  );
  expect(scene.health.families[4].stateOf(nodeName('n1'))).toMatchObject({ sinceMs: 2000 });
  await scene.round('ok', 'ok');
  expect(scene.changes()).toBe(3);
  expect(scene.log.lines).toMatchObject([
    {
      level: 'warn',
      fields: { node: 'n1', family: 4, since: '2026-01-01T00:00:02.000Z' },
      message: 'node does not answer: no new connections',
    },
    { level: 'info', fields: { node: 'n1', family: 4, seconds: 3 }, message: 'node is up again' },
  ]);
});

test.each([3_600_000, -3_600_000])('a wall clock that jumps by %i ms changes no duration', async (byMs) => {
  const scene = makeHealthScene();
  await scene.round('ok', 'ok');
  for (let second = 0; second < 3; second++) await scene.round('silent', 'ok');
  scene.setWallClock(byMs);
  expect(scene.health.families[4].stateOf(nodeName('n1'))).toMatchObject({ sinceMs: 2000 });
  await scene.round('ok', 'ok');
  expect(scene.log.lines.at(-1)).toMatchObject({ fields: { node: 'n1', seconds: 3 }, message: 'node is up again' });
});

test('a node has a time of its drain and one of its health', async () => {
  const scene = makeHealthScene();
  const stateOf = () => scene.health.families[4].stateOf(nodeName('n1'));
  await scene.round('ok', 'ok');
  scene.drain('n1');
  await scene.round('ok', 'ok');
  expect(stateOf()).toEqual({ state: 'up', sinceMs: undefined, drainSinceMs: 2000 });
  expect(scene.changes()).toBe(1); // a drain is not a verdict
  await scene.round('silent', 'ok');
  expect(stateOf()).toEqual({ state: 'silent', sinceMs: 3000, drainSinceMs: 2000 });
  scene.drain();
  await scene.round('silent', 'ok');
  expect(stateOf()).toEqual({ state: 'silent', sinceMs: 3000, drainSinceMs: undefined });
});

test('the time of a drain that began before the start is not known', async () => {
  const scene = makeHealthScene();
  scene.drain('n1');
  for (let second = 0; second < 2; second++) await scene.round('ok', 'ok');
  expect(scene.health.families[4].stateOf(nodeName('n1')).drainSinceMs).toBeUndefined();
});

test('of a node that is silent already at the start it is known since when furiwake knows it', async () => {
  const scene = makeHealthScene();
  const family = scene.health.families[4];
  const since = (): unknown => [family.stateOf(nodeName('n1')).sinceMs, family.silentSince(nodeName('n1'))];
  for (let second = 0; second < 3; second++) {
    await scene.round('silent', 'ok');
    expect(since()).toEqual([undefined, 1_000]);
  }
  await scene.round('ok', 'ok');
  expect(since()).toEqual([4_000, undefined]);
  await scene.round('silent', 'ok');
  await scene.round('silent', 'ok');
  expect(since()).toEqual([5_000, 5_000]);
});

test('the verdicts are the same object while nothing changes', async () => {
  const scene = makeHealthScene();
  await scene.round('ok', 'silent');
  const before = scene.health.verdicts();
  await scene.round('ok', 'silent');
  expect(scene.health.verdicts()).toBe(before);
});

test('connections of a silent node are reset after the configured time, once in the log and the metrics', async () => {
  const scene = makeHealthScene();
  await scene.round('ok', 'ok');
  const dead: number[] = [];
  for (let second = 1; second <= 8; second++) dead.push((await scene.round('silent', 'ok')).dead.length);
  expect(dead).toEqual([0, 0, 0, 0, 0, 1, 1, 1]);
  expect(scene.messages()).toEqual([
    'warn node does not answer: no new connections',
    'warn node silent for 5 s: its connections were ended',
  ]);
  expect(scene.metrics.total('furiwake_silent_nodes_total')).toBe(1);
});

test('the reset of a silent node is not said again after a moment without any healthy node', async () => {
  const scene = makeHealthScene();
  await scene.round('ok', 'ok');
  for (let second = 1; second <= 6; second++) await scene.round('silent', 'ok');
  scene.probed('silent', 'ok');
  expect((await scene.round('silent', 'alive')).dead).toEqual([]);
  expect((await scene.round('silent', 'ok')).dead).toEqual(['n1']);
  expect(scene.messages().filter((words) => words.includes('were ended'))).toHaveLength(1);
  await scene.round('ok', 'ok');
  for (let second = 1; second <= 6; second++) await scene.round('silent', 'ok');
  expect(scene.messages().filter((words) => words.includes('were ended'))).toHaveLength(2);
});

test('a silent node stays silent for a new worker that has not checked it yet', async () => {
  const scene = makeHealthScene();
  await scene.round('ok', 'ok');
  await scene.round('silent', 'ok');
  await scene.round(undefined, undefined);
  await scene.round('silent', 'ok');
  expect(scene.messages()).toEqual(['warn node does not answer: no new connections']);
});

test('a health port that refuses only on some nodes is reported, with a remedy', async () => {
  const scene = makeHealthScene();
  await scene.round('alive', 'ok');
  expect(scene.health.verdicts().get(nodeName('n1'))).toEqual({ 4: 'unhealthy' });
  expect(scene.messages()).toEqual([expect.stringContaining('Is kube-proxy running there')]);
});

test('a node that answers that it is unhealthy is logged once', async () => {
  const scene = makeHealthScene();
  for (let second = 0; second < 3; second++) await scene.round('unhealthy', 'ok');
  expect(scene.messages()).toEqual(['warn kube-proxy on this node reports that it is unhealthy: no new connections']);
});

test('when all nodes are silent they stay in use, and are reported silent', async () => {
  const scene = makeHealthScene();
  await scene.round('ok', 'ok');
  scene.probed('silent', 'silent');
  const orders = [];
  for (let second = 0; second < 10; second++) orders.push(await scene.round('silent', 'silent'));
  expect(scene.health.verdicts()).toEqual(
    new Map([
      ['n1', { 4: 'silent' }],
      ['n2', { 4: 'silent' }],
    ]),
  );
  expect(orders.flatMap(({ dead }) => dead)).toEqual([]);
  expect(orders.flatMap(({ out }) => [...out]).filter(([, isOut]) => isOut)).toEqual([]);
  const kept = 'warn node does not answer, and no other node in use does: it stays in use';
  expect(scene.messages().filter((line) => line === kept)).toHaveLength(2);
});

test('a report of HAProxy that arrives while the own probe waits counts, and what the probe has seen does not', async () => {
  const scene = makeHealthScene();
  scene.probed('alive', 'silent');
  scene.reportedMeanwhile('ok', 'ok');
  scene.run();
  await scene.away(60);
  expect(scene.probes()).toBeGreaterThan(10);
  expect(scene.messages()).toEqual([]);
  expect(scene.health.families[4].stateOf(nodeName('n2')).state).toBe('up');
});

test('orders are given once, and again to a new process', async () => {
  const scene = makeHealthScene();
  scene.probed('alive', 'alive');
  await scene.round('alive', 'alive'); // no node is healthy: the own probe decides from now on
  scene.probed('silent', 'alive');
  const given = async (): Promise<readonly (readonly [string, boolean])[]> => [...(await scene.round()).out];
  expect(await given()).toEqual([]);
  expect(await given()).toEqual([['n1', true]]);
  expect(await given()).toEqual([]);
  scene.health.families[4].forgetOrders();
  expect(await given()).toEqual([
    ['n1', true],
    ['n2', false],
  ]);
});
