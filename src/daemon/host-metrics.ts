import type { Metrics } from '../ports/metrics.ts';
import { type PoolStatus, type ServiceStatusWord, serviceStatusWords } from './host-status.ts';

/** What the metrics of a host show, at one moment. */
export type HostMetricsSource = {
  readonly isReady: boolean;
  /** `undefined` until the first plan. */
  readonly pool: PoolStatus | undefined;
  readonly services: ReadonlyMap<ServiceStatusWord, number>;
};

/** The metrics that sum up `furiwake status`. The returned function sets them, before each scrape. */
export function makeHostMetrics(metrics: Metrics, version: string): (source: HostMetricsSource) => void {
  const ready = metrics.gauge('furiwake_ready', '1 while /readyz says ok');
  const addresses = metrics.gauge('furiwake_pool_addresses', 'Addresses of the pool: used, free', ['state']);
  const services = metrics.gauge('furiwake_services', 'Services by their status in `furiwake status`', ['state']);
  metrics.gauge('furiwake_build_info', 'Always 1; the version is a label', ['version']).set(1, { version });
  return ({ isReady, pool, services: counts }) => {
    ready.set(isReady ? 1 : 0);
    if (pool !== undefined) {
      addresses.set(pool.used, { state: 'used' });
      addresses.set(Number(BigInt(pool.size) - BigInt(pool.used)), { state: 'free' });
    }
    for (const state of serviceStatusWords) services.set(counts.get(state) ?? 0, { state });
  };
}
