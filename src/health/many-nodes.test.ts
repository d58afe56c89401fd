import { expect, onTestFinished, test } from 'vitest';
import { probeBy } from '../../test/make/probe-by.ts';
import { node } from '../../test/make/table.ts';
import { recordLog, recordMetrics } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
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
