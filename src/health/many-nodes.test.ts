import { expect, onTestFinished, test } from 'vitest';
import { probeBy } from '../../test/make/probe-by.ts';
import { makeHealthScene } from '../../test/make/health-scene.ts';
import { addressOf, node, nodeName } from '../../test/make/table.ts';
import { recordLog, recordMetrics } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { NodeName } from '../core/model/names.ts';
import { makeHealth } from './health.ts';

/** The health of 100 nodes that answer and 400 that are silent from `fromMs` on, without HAProxy. A round lasts as given. */
async function largeScene(roundMs: number, fromMs: number) {
  const clock = virtualClock();
  const log = recordLog();
  const isSilent = (address: string): boolean => clock.monotonic() >= fromMs && address.endsWith('2');
  const answers = probeBy((address) => (isSilent(address) ? 'silent' : 'ok'));
  const health = makeHealth({
    probe: async (targets, outer) => {
      const found = await answers(targets, outer);
      await clock.sleep(roundMs, outer);
      return found;
    },
    silenceMs: 15_000,
    clock,
    log,
    metrics: recordMetrics(),
  });
  const nodes = Array.from({ length: 500 }, (_, index) => {
    const ending = index < 100 ? 1 : 2;
    return node(`n${index + 1}`, `192.0.2.${ending}`, `fd00::${ending}`);
  });
  const table = new Map(nodes.map((each) => [each.name, each]));
  const stop = new AbortController();
  const running = Promise.allSettled([health.run(() => table, stop.signal)]);
  onTestFinished(async () => {
    stop.abort();
    await running;
  });
  const silentNodes = (): number => [...health.verdicts().values()].filter((verdict) => verdict[4] === 'silent').length;
  return { clock, log, silentNodes };
}

test.each([5000, 5300, 5600, 5900, 6200])(
  '400 of 500 nodes, silent from %i ms on, are out of use after three seconds',
  async (fromMs) => {
    const { clock, silentNodes } = await largeScene(500, fromMs);
    await clock.advance(fromMs);
    expect(silentNodes()).toBe(0);
    await clock.advance(3000);
    expect(silentNodes()).toBe(400);
  },
);

test.each([500, 2000])('their connections end after 15 s, if a round lasts %i ms', async (roundMs) => {
  const { clock, log } = await largeScene(roundMs, 5000);
  const ended = (): number => log.lines.filter(({ message }) => message.startsWith('node silent for 15 s')).length;
  await clock.advance(5000 + 15_000);
  expect(ended()).toBe(0);
  await clock.advance(3 * roundMs + 1000);
  expect(ended()).toBe(800); // both families
});

test.each([
  ['one of the first nodes', 3, 20],
  ['the last node', 499, 500],
  ['no node', undefined, 500],
])('a survey finds that %s of 500 is healthy', async (_, healthy, asked) => {
  const clock = virtualClock();
  let probes = 0;
  const probe = probeBy((address) => {
    probes++;
    return address === addressOfNode(healthy) ? 'ok' : 'alive';
  });
  const health = makeHealth({ probe, silenceMs: 15_000, clock, log: recordLog(), metrics: recordMetrics() });
  const nodes = new Map(
    Array.from({ length: 500 }, (__, index) => [nodeName(`n${index}`), addressOf(addressOfNode(index))]),
  );
  await health.families[4].survey({ nodes, draining: new Set() }, new AbortController().signal);
  expect(probes).toBe(asked);
  expect(health.families[4].isChecked()).toBe(healthy !== undefined);
});

function addressOfNode(index: number | undefined): string {
  return index === undefined ? '' : `192.0.${2 + (index >> 8)}.${index & 255}`;
}

test('HAProxy has three seconds after a survey for its first report', async () => {
  const scene = makeHealthScene();
  scene.run();
  await scene.away(2.5);
  const found = { nodes: new Map([[nodeName('n1'), addressOf('192.0.2.11')]]), draining: new Set<NodeName>() };
  await scene.health.families[4].survey(found, new AbortController().signal);
  const surveyed = scene.probes();
  await scene.away(2.5);
  expect(scene.probes()).toBe(surveyed);
  await scene.away(2);
  expect(scene.probes()).toBeGreaterThan(surveyed);
});
