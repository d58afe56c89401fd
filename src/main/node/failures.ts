import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';

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
