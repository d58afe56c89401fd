import { expect, test } from 'vitest';
import { metricsContract } from '../../../test/contract/metrics.ts';
import { recordMetrics } from '../../../test/sim/observers.ts';
import { countFailures, makeMetrics } from './metrics.ts';

metricsContract('the registry of Prometheus', () => {
  const metrics = makeMetrics();
  return {
    metrics,
    read: async (name, labels = {}) => {
      const texts = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
      const sample = texts.length === 0 ? name : `${name}{${texts.join()}}`;
      const lines = (await metrics.text([name])).split('\n');
      return Number(lines.find((line) => line.startsWith(`${sample} `))?.slice(sample.length) ?? 0);
    },
  };
});

metricsContract('the one that tests read', () => {
  const metrics = recordMetrics();
  return { metrics, read: async (name, labels) => metrics.gaugeOf(name) ?? metrics.total(name, labels) };
});

test('tasks that fail are counted by what they do, and 0 is shown once they work again', async () => {
  const metrics = makeMetrics();
  const failing = countFailures(metrics);
  for (const [what, change] of [
    ['saving', 1],
    ['saving', 1],
    ['watching', 1],
    ['watching', -1],
  ] as const)
    failing(what, change);
  const lines = (await metrics.text(['furiwake_failing'])).split('\n').filter((line) => line.startsWith('furiwake_'));
  expect(lines).toEqual(['furiwake_failing{what="saving"} 2', 'furiwake_failing{what="watching"} 0']);
});
