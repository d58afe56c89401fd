import { families } from '../core/ip/ip.ts';
import type { ServiceKey } from '../core/model/names.ts';
import type { Gauge, Metrics } from '../ports/metrics.ts';
import type { MeasuredServers, ServerCounters } from '../ports/proxy.ts';
import { type ServiceStatusWord, serviceStatusWords } from './host-status.ts';
import type { PoolStatus } from './pool-status.ts';
import { familiesOf, labelText, portionsOf } from './metric-families.ts';
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
  /** Those that need `set`. */
  readonly names: ReadonlySet<string>;
  /** Before each scrape of one of them. A value that is not known has no sample. */
  readonly set: (source: HostMetricsSource) => void;
  /** The metrics with a sample for each Service or server, of the last `set`: each as text in portions. */
  readonly families: () => readonly FamilyText[];
};

export type FamilyText = { readonly name: string; readonly portions: Iterable<string> };

/** The metrics that sum up `furiwake status`. */
export function makeHostMetrics(registry: Metrics, version: string): HostMetrics {
  const names = new Set<string>();
  const gauge: Metrics['gauge'] = (name, ...rest) => {
    names.add(name);
    return registry.gauge(name, ...rest);
  };
  const metrics = { gauge };
  const ready = metrics.gauge('furiwake_ready', '1 while /readyz says ok');
  const addresses = metrics.gauge('furiwake_pool_addresses', 'Addresses of the pool: used, free', ['family', 'state']);
  const services = metrics.gauge('furiwake_services', 'Services by their status in `furiwake status`', ['state']);
  const omitted = metrics.gauge(
    'furiwake_servers_omitted',
    'Backends of Services with furiwake.dev/server-metrics beyond the 500 that are measured',
  );
  registry.gauge('furiwake_build_info', 'Always 1; the version is a label', ['version']).set(1, { version });
  for (const { name } of [...serviceFamilies, ...serverFamilies, queueFamily]) names.add(name);
  let last: Pick<HostMetricsSource, 'traffic' | 'measured'> = { traffic: new Map(), measured: undefined };
  return {
    names,
    set: (source) => {
      last = source;
      const { isReady, pool, services: counts, measured } = source;
      ready.set(isReady ? 1 : 0);
      for (const family of families) {
        const ofFamily = pool?.left.find((each) => each.family === family);
        show(addresses, { family: String(family), state: 'used' }, ofFamily?.used);
        show(addresses, { family: String(family), state: 'free' }, ofFamily && Number(ofFamily.count));
      }
      for (const state of serviceStatusWords) show(services, { state }, counts && (counts.get(state) ?? 0));
      if (measured === undefined) omitted.remove({});
      else omitted.set(measured.omitted);
    },
    families: () => {
      const { traffic, measured = { servers: [], queued: [] } } = last;
      return [
        ...serviceFamilies.map((family) => ({ name: family.name, portions: portionsOf(family, labelled(traffic)) })),
        ...serverFamilies.map((family) => ({
          name: family.name,
          portions: portionsOf(family, labelledServers(measured.servers)),
        })),
        { name: queueFamily.name, portions: portionsOf(queueFamily, labelled(measured.queued)) },
      ];
    },
  };
}

function show(gauge: Gauge, labels: Readonly<Record<string, string>>, value: number | undefined): void {
  if (value === undefined) gauge.remove(labels);
  else gauge.set(value, labels);
}

/** A counter starts again with HAProxy's worker, or the table. */
const ofService = familiesOf<Traffic>();
const serviceFamilies = [
  ofService.gauge('furiwake_service_connections', 'Open client connections of a Service', (each) => each.connections),
  ofService.counter('furiwake_service_connections_total', 'Client connections of a Service', ({ total }) => total),
  ofService.counter(
    'furiwake_service_received_bytes_total',
    'Bytes from the clients of a Service',
    (each) => each.bytesIn,
  ),
  ofService.counter('furiwake_service_sent_bytes_total', 'Bytes to the clients of a Service', (each) => each.bytesOut),
  ofService.counter(
    'furiwake_service_received_packets_total',
    'Packets from the clients of a Service, where the dataplane is direct or nat',
    ({ packetsIn }) => packetsIn,
  ),
  ofService.counter(
    'furiwake_service_sent_packets_total',
    'Packets to the clients of a Service, where the dataplane is nat',
    ({ packetsOut }) => packetsOut,
  ),
  ofService.counter(
    'furiwake_service_refused_packets_total',
    'Packets to a Service from outside its source ranges, of TCP each attempt to connect, and connections beyond a limit',
    ({ refused }) => refused,
  ),
];

/** Of a Service that asks for them. */
const ofServer = familiesOf<ServerCounters>();
const serverFamilies = [
  ofServer.gauge(
    'furiwake_server_connections',
    'Open connections to a server of a Service',
    (each) => each.connections,
  ),
  ofServer.counter(
    'furiwake_server_connections_total',
    'Connections to a server of a Service, with attempts',
    ({ total }) => total,
  ),
  ofServer.counter(
    'furiwake_server_errors_total',
    'Failed attempts to connect to a server of a Service, and connections that it broke off',
    ({ errors }) => errors,
  ),
];
const queueFamily = familiesOf<number>().gauge(
  'furiwake_server_queue',
  'Connections to a Service that wait for a server',
  (queued) => queued,
);

function serviceLabels(key: ServiceKey): string {
  const slash = key.indexOf('/');
  return `${labelText('namespace', key.slice(0, slash))},${labelText('service', key.slice(slash + 1))}`;
}

function* labelled<Row>(rows: Iterable<readonly [ServiceKey, Row]>): Generator<readonly [string, Row]> {
  for (const [key, row] of rows) yield [serviceLabels(key), row];
}

function* labelledServers(servers: MeasuredServers['servers']): Generator<readonly [string, ServerCounters]> {
  for (const each of servers) yield [`${serviceLabels(each.service)},${labelText('server', each.server)}`, each];
}
