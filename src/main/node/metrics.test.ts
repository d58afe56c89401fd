import { metricsContract } from '../../../test/contract/metrics.ts';
import { recordMetrics } from '../../../test/sim/observers.ts';
import { makeMetrics } from './metrics.ts';

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
