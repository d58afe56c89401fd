import { expect, test } from 'vitest';
import { makeHealthScene } from '../../test/make/health-scene.ts';
import { probeBy } from '../../test/make/probe-by.ts';
import { addressOf, node, nodeName } from '../../test/make/table.ts';
import { recordLog, recordMetrics } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { nodeUse } from '../core/traffic/node-use.ts';
import type { CheckAnswer, CheckedNode } from '../ports/health.ts';
import { makeHealth } from './health.ts';

const { signal } = new AbortController();
const [n1, n2] = [nodeName('n1'), nodeName('n2')];
const one = new Map([[n1, addressOf('192.0.2.11')]]);
const both = new Map([...one, [n2, addressOf('192.0.2.12')]]);
const up: CheckedNode = { isUp: true, answer: 'ok' };

/** n1 is healthy, then n2 joins; each further result is one of n2, a second later. */
async function joined(...results: readonly CheckedNode[]): Promise<ReturnType<typeof makeHealthScene>> {
  const scene = makeHealthScene();
  const round = async (nodes: typeof one, checks: ReadonlyMap<typeof n1, CheckedNode>): Promise<unknown> =>
    scene.health.families[4].round({ nodes, draining: new Set(), gone: new Map(), checks }, signal);
  await round(one, new Map([[n1, up]]));
  await round(both, new Map([[n1, up]]));
  for (const result of results)
    await round(
      both,
      new Map([
        [n1, up],
        [n2, result],
      ]),
    );
  return scene;
}

test.each<[string, readonly CheckedNode[], object | undefined]>([
  ['is not checked yet', [{ isUp: true, answer: undefined }], undefined],
  ['fails once', [{ isUp: true, answer: 'silent' }], undefined],
  ['answers', [{ isUp: true, answer: 'silent' }, up], { 4: 'up' }],
  ['refuses', [{ isUp: false, answer: 'alive' }], { 4: 'unhealthy' }],
  ['is silent', [{ isUp: false, answer: 'silent' }], { 4: 'silent' }],
  ['has answered, and fails once', [up, { isUp: true, answer: 'silent' }], { 4: 'up' }],
])('the verdict on a node that joins others and %s', async (_, results, verdict) => {
  const { health } = await joined(...results);
  expect(health.verdicts().get(n1)).toEqual({ 4: 'up' });
  expect(health.verdicts().get(n2)).toEqual(verdict);
});

test('of a node that joins and is not healthy at once it is known since when, and of one that is healthy it is not', async () => {
  const { health } = makeHealthScene();
  const round = async (answer: CheckAnswer): Promise<number | undefined> => {
    const checks = new Map([
      [n1, up],
      [n2, { isUp: answer === 'ok', answer }],
    ]);
    await health.families[4].round({ nodes: one, draining: new Set(), gone: new Map(), checks }, signal);
    await health.families[4].round({ nodes: both, draining: new Set(), gone: new Map(), checks }, signal);
    return health.families[4].stateOf(n2).sinceMs;
  };
  expect(await round('ok')).toBeUndefined();
  expect(await round('alive')).toBe(0);
});

test('a node that joins gets no new flows before it has answered, and no line in the log', async () => {
  const table = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
  const takers = ({ health }: ReturnType<typeof makeHealthScene>): readonly string[] => {
    const { takes } = nodeUse(table, health.verdicts());
    return table.filter((each) => takes(each, 4)).map(({ name }) => name);
  };
  expect(takers(await joined())).toEqual(['n1']);
  const answered = await joined(up);
  expect(takers(answered)).toEqual(['n1', 'n2']);
  expect(answered.messages()).toEqual([]);
  expect(answered.changes()).toBe(3);
});

test('a node that joins has a time of its change if it is silent, and none if it answers', async () => {
  const timesAfter = async (result: CheckedNode): Promise<unknown> => {
    const family = (await joined(result)).health.families[4];
    return { since: family.stateOf(n2).sinceMs, silentSince: family.silentSince(n2) };
  };
  expect(await timesAfter(up)).toEqual({ since: undefined, silentSince: undefined });
  const silent = await timesAfter({ isUp: false, answer: 'silent' });
  expect(silent).toEqual({ since: expect.any(Number), silentSince: expect.any(Number) });
});

test("furiwake's own probe decides in the same way", async () => {
  const answers = new Map<string, CheckAnswer>([
    ['192.0.2.11', 'alive'],
    ['192.0.2.12', 'silent'],
  ]);
  const clock = virtualClock();
  const health = makeHealth({
    probe: probeBy((address) => answers.get(address) ?? 'alive'),
    silenceMs: 5000,
    clock,
    log: recordLog(),
    metrics: recordMetrics(),
  });
  const round = async (nodes: typeof one): Promise<unknown> => {
    await clock.advance(1000);
    const checks = new Map([...nodes.keys()].map((name) => [name, { isUp: false, answer: 'alive' } as const]));
    return await health.families[4].round({ nodes, draining: new Set(), gone: new Map(), checks }, signal);
  };
  await round(one);
  await round(both);
  expect(health.verdicts().get(n2)).toBeUndefined();
  answers.set('192.0.2.12', 'alive');
  await round(both);
  expect(health.verdicts().get(n2)).toEqual({ 4: 'up' });
});
