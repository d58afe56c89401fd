import { expect, test } from 'vitest';
import { makeHealthScene } from '../../test/make/health-scene.ts';
import { nodeName } from '../../test/make/table.ts';
import type { CheckAnswer } from '../ports/health.ts';

test.each(['HAProxy reports', 'HAProxy reports nothing'])(
  'when the last healthy node drains an unhealthy one takes connections, while %s',
  async (what) => {
    const scene = makeHealthScene();
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
    const scene = makeHealthScene();
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
  const scene = makeHealthScene();
  scene.run();
  await scene.round('ok', 'ok');
  await scene.round('silent', 'ok');
  scene.probed('silent', 'ok');
  await scene.away(60);
  expect(scene.health.verdicts().get(nodeName('n1'))).toEqual({ 4: 'silent' });
  expect(scene.changes()).toBe(2);
});

test('while HAProxy reports nothing the connections of a silent node are not said to have ended, before it does so', async () => {
  const scene = makeHealthScene();
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
  const scene = makeHealthScene();
  scene.run();
  scene.probed('silent', 'silent');
  await scene.away(60);
  expect(scene.health.verdicts().get(nodeName('n2'))).toEqual({ 4: 'silent' });
  expect(scene.metrics.total('furiwake_silent_nodes_total')).toBe(0);
  expect(scene.messages().filter((line) => line.includes('it stays in use'))).toHaveLength(2);
});

test('the module waits for HAProxy as long after the first node as after a report', async () => {
  const scene = makeHealthScene();
  scene.run({ nodesAfterMs: 10_000 });
  await scene.away(11);
  expect(scene.probes()).toBe(0);
  await scene.away(1);
  expect(scene.probes()).toBe(2);
});

test('while HAProxy reports each second the module checks no node itself', async () => {
  const scene = makeHealthScene();
  scene.run();
  for (let second = 0; second < 30; second++) await scene.round('ok', 'ok');
  expect(scene.probes()).toBe(0);
});
