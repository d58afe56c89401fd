import { Counter, Gauge, Histogram, Registry } from '@prometheus-io/client';
import type { CommandDeps } from '../../daemon/platform.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { collectProcessMetrics } from './process-metrics.ts';

/** Metrics in the Prometheus text format. */
export function makeMetrics(): CommandDeps['metrics'] {
  const registry = new Registry();
  collectProcessMetrics(registry);
  const known = new Map<string, Counter<string> | Gauge<string> | Histogram<string>>();
  const once = <T extends Counter<string> | Gauge<string> | Histogram<string>>(name: string, make: () => T): T => {
    const metric = (known.get(name) as T | undefined) ?? make();
    known.set(name, metric);
    return metric;
  };
  return {
    counter: (name, help, labelNames = []) => {
      const counter = once(name, () => new Counter({ name, help, labelNames: [...labelNames], registers: [registry] }));
      return { add: (value, labels) => (labels === undefined ? counter.inc(value) : counter.inc(labels, value)) };
    },
    gauge: (name, help, labelNames = []) => {
      const gauge = once(name, () => new Gauge({ name, help, labelNames: [...labelNames], registers: [registry] }));
      return {
        set: (value, labels) => (labels === undefined ? gauge.set(value) : gauge.set(labels, value)),
        remove: (labels) => gauge.remove(labels),
        reset: () => gauge.reset(),
      };
    },
    histogram: (name, help, buckets, labelNames = []) => {
      const histogram = once(
        name,
        () => new Histogram({ name, help, buckets: [...buckets], labelNames: [...labelNames], registers: [registry] }),
      );
      return {
        observe: (value, labels) =>
          labels === undefined ? histogram.observe(value) : histogram.observe(labels, value),
      };
    },
    text: async (names) => {
      if (names.length === 0) return await registry.metrics();
      const found = names.filter((name) => registry.getSingleMetric(name) !== undefined);
      const texts = await Promise.all(found.map((name) => registry.getSingleMetricAsString(name)));
      return texts.map((text) => `${text}\n`).join('');
    },
    contentType: registry.contentType,
  };
}

/** Shows the failures that last at this moment as a metric, by what fails. */
export function countFailures(metrics: Metrics): Log['failing'] {
  const gauge = metrics.gauge('furiwake_failing', 'Tasks that fail and are retried, by what they do', ['what']);
  const counts = new Map<string, number>();
  return (what, change) => {
    const count = (counts.get(what) ?? 0) + change;
    counts.set(what, count);
    gauge.set(count, { what });
  };
}
