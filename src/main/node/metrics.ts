import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from '@prometheus-io/client';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';

/** Metrics in the Prometheus text format; `text` is the answer to a scrape. */
export function makeMetrics(): Metrics & { readonly text: () => Promise<string>; readonly contentType: string } {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const known = new Map<string, Counter<string> | Gauge<string> | Histogram<string>>();
  const once = <T extends Counter<string> | Gauge<string> | Histogram<string>>(name: string, make: () => T): T => {
    const metric = (known.get(name) as T | undefined) ?? make();
    known.set(name, metric);
    return metric;
  };
  return {
    counter: (name, help, labelNames = []) => {
      const counter = once(name, () => new Counter({ name, help, labelNames: [...labelNames], registers: [registry] }));
      return {
        add: (value, labels) => (labels === undefined ? counter.inc(value) : counter.inc(labels, value)),
        reset: () => counter.reset(),
      };
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
    text: () => registry.metrics(),
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
