import type { ServiceKey } from '../core/model/names.ts';
import type { Gauge, Metrics } from '../ports/metrics.ts';
import type { MeasuredServers } from '../ports/proxy.ts';
import { type PoolStatus, type ServiceStatusWord, serviceStatusWords } from './host-status.ts';
import type { Traffic } from './traffic.ts';

/** What the metrics of a host show, at one moment; `undefined` without a plan. */
export type HostMetricsSource = {
  readonly isReady: boolean;
  readonly pool: PoolStatus | undefined;
  readonly services: ReadonlyMap<ServiceStatusWord, number> | undefined;
  /** Of the Services with a listener. */
  readonly traffic: ReadonlyMap<ServiceKey, Traffic>;
  /** `undefined` while HAProxy does not answer. */
  readonly measured: MeasuredServers | undefined;
};

export type HostMetrics = {
  /** Those that `set` sets. */
  readonly names: ReadonlySet<string>;
  /** Before each scrape of one of them. A value that is not known has no sample. */
  readonly set: (source: HostMetricsSource) => void;
};

/** The metrics that sum up `furiwake status`. */
export function makeHostMetrics(registry: Metrics, version: string): HostMetrics {
  const names = new Set<string>();
  const noted = (name: string): string => {
    names.add(name);
    return name;
  };
  const metrics: Pick<Metrics, 'counter' | 'gauge'> = {
    counter: (name, ...rest) => registry.counter(noted(name), ...rest),
    gauge: (name, ...rest) => registry.gauge(noted(name), ...rest),
  };
  const ready = metrics.gauge('furiwake_ready', '1 while /readyz says ok');
  const addresses = metrics.gauge('furiwake_pool_addresses', 'Addresses of the pool: used, free', ['state']);
  const services = metrics.gauge('furiwake_services', 'Services by their status in `furiwake status`', ['state']);
  registry.gauge('furiwake_build_info', 'Always 1; the version is a label', ['version']).set(1, { version });
  const showTraffic = makeTrafficMetrics(metrics);
  const showServers = makeServerMetrics(metrics);
  const set: HostMetrics['set'] = ({ isReady, pool, services: counts, traffic, measured }) => {
    showTraffic(traffic);
    showServers(measured);
    ready.set(isReady ? 1 : 0);
    show(addresses, 'used', pool?.used);
    show(addresses, 'free', pool && Number(BigInt(pool.size) - BigInt(pool.used)));
    for (const state of serviceStatusWords) show(services, state, counts && (counts.get(state) ?? 0));
  };
  return { names, set };
}

function show(gauge: Gauge, state: string, value: number | undefined): void {
  if (value === undefined) gauge.remove({ state });
  else gauge.set(value, { state });
}

/** A sample for each server of a Service that asks for it. */
function makeServerMetrics(
  metrics: Pick<Metrics, 'counter' | 'gauge'>,
): (measured: HostMetricsSource['measured']) => void {
  const labelNames = ['namespace', 'service', 'server'];
  const open = metrics.gauge('furiwake_server_connections', 'Open connections to a server of a Service', labelNames);
  const queue = metrics.gauge('furiwake_server_queue', 'Connections to a Service that wait for a server', [
    'namespace',
    'service',
  ]);
  const total = metrics.counter(
    'furiwake_server_connections_total',
    'Connections to a server of a Service, with attempts',
    labelNames,
  );
  const errors = metrics.counter(
    'furiwake_server_errors_total',
    'Failed attempts to connect to a server of a Service, and connections that it broke off',
    labelNames,
  );
  const left = metrics.gauge(
    'furiwake_servers_omitted',
    'Backends of Services with furiwake.dev/server-metrics beyond the 500 that are measured',
  );
  return (measured) => {
    for (const metric of [open, queue, total, errors]) metric.reset();
    if (measured === undefined) left.remove({});
    else left.set(measured.omitted);
    for (const [key, connections] of measured?.queued ?? []) {
      const [namespace = '', service = ''] = key.split('/');
      queue.set(connections, { namespace, service });
    }
    for (const each of measured?.servers ?? []) {
      const [namespace = '', service = ''] = each.service.split('/');
      const labels = { namespace, service, server: each.server };
      open.set(each.connections, labels);
      total.add(each.total, labels);
      errors.add(each.errors, labels);
    }
  };
}

/** A sample for each Service and figure that its dataplanes count. A counter starts again with HAProxy's worker, or the table. */
function makeTrafficMetrics(
  metrics: Pick<Metrics, 'counter' | 'gauge'>,
): (traffic: HostMetricsSource['traffic']) => void {
  const labelNames = ['namespace', 'service'];
  const open = metrics.gauge('furiwake_service_connections', 'Open client connections of a Service', labelNames);
  const total = metrics.counter('furiwake_service_connections_total', 'Client connections of a Service', labelNames);
  const received = metrics.counter(
    'furiwake_service_received_bytes_total',
    'Bytes from the clients of a Service',
    labelNames,
  );
  const sent = metrics.counter('furiwake_service_sent_bytes_total', 'Bytes to the clients of a Service', labelNames);
  const packets = metrics.counter(
    'furiwake_service_received_packets_total',
    'Packets from the clients of a Service, where the dataplane is direct or nat',
    labelNames,
  );
  const sentPackets = metrics.counter(
    'furiwake_service_sent_packets_total',
    'Packets to the clients of a Service, where the dataplane is nat',
    labelNames,
  );
  const refused = metrics.counter(
    'furiwake_service_refused_packets_total',
    'Packets to a Service from outside its source ranges, of TCP each attempt to connect, and connections beyond a limit',
    labelNames,
  );
  return (traffic) => {
    for (const metric of [open, total, received, sent, packets, sentPackets, refused]) metric.reset();
    for (const [key, each] of traffic) {
      const [namespace = '', service = ''] = key.split('/');
      const labels = { namespace, service };
      if (each.connections !== undefined) open.set(each.connections, labels);
      total.add(each.total, labels);
      received.add(each.bytesIn, labels);
      if (each.bytesOut !== undefined) sent.add(each.bytesOut, labels);
      if (each.packetsIn !== undefined) packets.add(each.packetsIn, labels);
      if (each.packetsOut !== undefined) sentPackets.add(each.packetsOut, labels);
      refused.add(each.refused, labels);
    }
  };
}
