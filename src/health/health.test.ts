import { probeBy } from '../../test/make/probe-by.ts';
import { expect, onTestFinished, test } from 'vitest';
import { addressOf, node, nodeName } from '../../test/make/table.ts';
import { recordLog, recordMetrics } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { NodeName } from '../core/model/names.ts';
import type { TrafficTable } from '../core/traffic/table.ts';
import type { CheckAnswer } from '../ports/health.ts';
import { makeHealth } from './health.ts';

const { signal } = new AbortController();
const nodes = new Map([
  [nodeName('n1'), addressOf('192.0.2.11')],
  [nodeName('n2'), addressOf('192.0.2.12')],
]);

/** The health of two IPv4 nodes; each `round` is a second with the given results of the checks. */
function makeScene() {
  const clock = virtualClock();
  const log = recordLog();
  const metrics = recordMetrics();
  let probed: readonly CheckAnswer[] = ['ok', 'ok'];
  let probes = 0;
  const probe = probeBy((address) => {
    probes++;
    return probed[address === '192.0.2.11' ? 0 : 1] ?? 'alive';
  });
  const health = makeHealth({ probe, silenceMs: 5000, clock, log, metrics });
  let draining: ReadonlySet<NodeName> = new Set();
  let changes = 0;
  health.subscribe(() => changes++);
  return {
    health,
    log,
    metrics,
    probed: (...answers: readonly CheckAnswer[]) => {
      probed = answers;
    },
    drain: (...names: readonly string[]) => {
      draining = new Set(names.map(nodeName));
    },
    setWallClock: (byMs: number) => clock.setWallClock(byMs),
    changes: () => changes,
    /** `undefined`: not known, as after a restart of HAProxy, which then considers the node up. */
    round: async (...answers: readonly (CheckAnswer | undefined)[]) => {
      await clock.advance(1000);
      const names = [...nodes.keys()];
      const checks = new Map(
        names.map((name, index) => {
          const answer = answers[index];
          return [name, { isUp: answer === undefined || answer === 'ok', answer }];
        }),
      );
      return await health.families[4].round({ nodes, draining, gone: new Map(), checks }, signal);
    },
    /** HAProxy reports nothing for so long; the module judges by itself. */
    away: async (seconds: number) => {
      await clock.advance(seconds * 1000);
    },
    /** Until the test ends. */
    run: ({ nodesAfterMs = 0 } = {}) => {
      const known = (): TrafficTable['nodes'] => {
        if (clock.monotonic() < nodesAfterMs) return new Map();
        const both = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
        return new Map(
          both.map((each) => [each.name, { ...each, state: draining.has(each.name) ? 'drain' : 'active' }]),
        );
      };
      const stop = new AbortController();
      const running = Promise.allSettled([health.run(known, stop.signal)]);
      onTestFinished(async () => {
        stop.abort();
        await running;
      });
    },
    probes: () => probes,
    messages: () => log.lines.map(({ level, message }) => `${level} ${message}`),
  };
}

test('a node that becomes silent is logged once, and once more when it is up again, with the duration', async () => {
  const scene = makeScene();
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
  const scene = makeScene();
  await scene.round('ok', 'ok');
  for (let second = 0; second < 3; second++) await scene.round('silent', 'ok');
  scene.setWallClock(byMs);
  expect(scene.health.families[4].stateOf(nodeName('n1'))).toMatchObject({ sinceMs: 2000 });
  await scene.round('ok', 'ok');
  expect(scene.log.lines.at(-1)).toMatchObject({ fields: { node: 'n1', seconds: 3 }, message: 'node is up again' });
});

test('a node has a time of its drain and one of its health', async () => {
  const scene = makeScene();
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
  const scene = makeScene();
  scene.drain('n1');
  for (let second = 0; second < 2; second++) await scene.round('ok', 'ok');
  expect(scene.health.families[4].stateOf(nodeName('n1')).drainSinceMs).toBeUndefined();
});

test('the verdicts are the same object while nothing changes', async () => {
  const scene = makeScene();
  await scene.round('ok', 'silent');
  const before = scene.health.verdicts();
  await scene.round('ok', 'silent');
  expect(scene.health.verdicts()).toBe(before);
});

test('connections of a silent node are reset after the configured time, once in the log and the metrics', async () => {
  const scene = makeScene();
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

test('a silent node stays silent for a new worker that has not checked it yet', async () => {
  const scene = makeScene();
  await scene.round('ok', 'ok');
  await scene.round('silent', 'ok');
  await scene.round(undefined, undefined);
  await scene.round('silent', 'ok');
  expect(scene.messages()).toEqual(['warn node does not answer: no new connections']);
});

test('a health port that refuses only on some nodes is reported, with a remedy', async () => {
  const scene = makeScene();
  await scene.round('alive', 'ok');
  expect(scene.health.verdicts().get(nodeName('n1'))).toEqual({ 4: 'unhealthy' });
  expect(scene.messages()).toEqual([expect.stringContaining('Set --healthz-bind-address of kube-proxy')]);
});

test('a node that answers that it is unhealthy is logged once', async () => {
  const scene = makeScene();
  for (let second = 0; second < 3; second++) await scene.round('unhealthy', 'ok');
  expect(scene.messages()).toEqual(['warn kube-proxy on this node reports that it is unhealthy: no new connections']);
});

test('when all nodes are silent they stay in use, and are reported silent', async () => {
  const scene = makeScene();
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

test('orders are given once, and again to a new process', async () => {
  const scene = makeScene();
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

test.each(['HAProxy reports', 'HAProxy reports nothing'])(
  'when the last healthy node drains an unhealthy one takes connections, while %s',
  async (what) => {
    const scene = makeScene();
    scene.run();
    const verdictOf = () => scene.health.verdicts().get(nodeName('n2'))?.[4];
    const later = async (): Promise<void> => {
      if (what === 'HAProxy reports') await scene.round('ok', 'unhealthy');
      else await scene.away(1);
    };
    scene.probed('ok', 'unhealthy');
    for (let second = 0; second < 6; second++) await later();
    expect(verdictOf()).toBe('unhealthy');
    scene.drain('n1');
    await later();
    expect([verdictOf(), scene.health.families[4].isChecked()]).toEqual(['up', false]);
    scene.drain();
    for (let second = 0; second < 11; second++) await later();
    expect([verdictOf(), scene.health.families[4].isChecked()]).toEqual(['unhealthy', true]);
  },
);

test.each<[CheckAnswer, 'silent' | 'unhealthy']>([
  ['silent', 'silent'],
  ['unhealthy', 'unhealthy'],
  ['alive', 'unhealthy'],
])(
  'while HAProxy reports nothing a node that becomes %s is %s after two own checks, and up after one',
  async (answer, verdict) => {
    const scene = makeScene();
    scene.run();
    await scene.round('ok', 'ok');
    const verdictOf = () => scene.health.verdicts().get(nodeName('n1'))?.[4];
    scene.probed(answer, 'ok');
    await scene.away(3);
    expect(verdictOf()).toBe('up');
    await scene.away(1);
    expect(verdictOf()).toBe(verdict);
    expect(scene.health.families[4].isChecked()).toBe(true);
    scene.probed('ok', 'ok');
    await scene.away(1);
    expect(verdictOf()).toBe('up');
  },
);

test('a node that HAProxy has taken out of use stays out when HAProxy dies', async () => {
  const scene = makeScene();
  scene.run();
  await scene.round('ok', 'ok');
  await scene.round('silent', 'ok');
  scene.probed('silent', 'ok');
  await scene.away(60);
  expect(scene.health.verdicts().get(nodeName('n1'))).toEqual({ 4: 'silent' });
  expect(scene.changes()).toBe(2);
});

test('while HAProxy reports nothing the connections of a silent node are not said to have ended, before it does so', async () => {
  const scene = makeScene();
  scene.run();
  await scene.round('ok', 'ok');
  scene.probed('silent', 'ok');
  await scene.away(60);
  await scene.round('silent', 'ok');
  await scene.round('silent', 'ok');
  expect(scene.messages()).toEqual([
    'warn node does not answer: no new connections',
    'warn node silent for 5 s: nat and direct end its connections',
    'warn node silent for 5 s: its connections were ended',
  ]);
  expect(scene.metrics.total('furiwake_silent_nodes_total')).toBe(1);
});

test('before the first report of HAProxy nodes have verdicts, too; all silent ones stay in use', async () => {
  const scene = makeScene();
  scene.run();
  scene.probed('silent', 'silent');
  await scene.away(60);
  expect(scene.health.verdicts().get(nodeName('n2'))).toEqual({ 4: 'silent' });
  expect(scene.metrics.total('furiwake_silent_nodes_total')).toBe(0);
  expect(scene.messages().filter((line) => line.includes('it stays in use'))).toHaveLength(2);
});

test('the module waits for HAProxy as long after the first node as after a report', async () => {
  const scene = makeScene();
  scene.run({ nodesAfterMs: 10_000 });
  await scene.away(11);
  expect(scene.probes()).toBe(0);
  await scene.away(1);
  expect(scene.probes()).toBe(2);
});

test('while HAProxy reports each second the module checks no node itself', async () => {
  const scene = makeScene();
  scene.run();
  for (let second = 0; second < 30; second++) await scene.round('ok', 'ok');
  expect(scene.probes()).toBe(0);
});
