import type { Gauge, Metrics } from '../ports/metrics.ts';
import { type PoolStatus, type ServiceStatusWord, serviceStatusWords } from './host-status.ts';

/** What the metrics of a host show, at one moment; `undefined` without a plan. */
export type HostMetricsSource = {
  readonly isReady: boolean;
  readonly pool: PoolStatus | undefined;
  readonly services: ReadonlyMap<ServiceStatusWord, number> | undefined;
};

/**
 * The metrics that sum up `furiwake status`. The returned function sets them, before each scrape; a value that is not known
 * has no sample.
 */
export function makeHostMetrics(metrics: Metrics, version: string): (source: HostMetricsSource) => void {
  const ready = metrics.gauge('furiwake_ready', '1 while /readyz says ok');
  const addresses = metrics.gauge('furiwake_pool_addresses', 'Addresses of the pool: used, free', ['state']);
  const services = metrics.gauge('furiwake_services', 'Services by their status in `furiwake status`', ['state']);
  metrics.gauge('furiwake_build_info', 'Always 1; the version is a label', ['version']).set(1, { version });
  return ({ isReady, pool, services: counts }) => {
    ready.set(isReady ? 1 : 0);
    show(addresses, 'used', pool?.used);
    show(addresses, 'free', pool && Number(BigInt(pool.size) - BigInt(pool.used)));
    for (const state of serviceStatusWords) show(services, state, counts && (counts.get(state) ?? 0));
  };
}

function show(gauge: Gauge, state: string, value: number | undefined): void {
  if (value === undefined) gauge.remove({ state });
  else gauge.set(value, { state });
}
