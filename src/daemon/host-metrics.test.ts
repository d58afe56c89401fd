import { expect, test } from 'vitest';
import { makeMetrics } from '../main/node/metrics.ts';
import { serviceKey } from '../core/model/names.ts';
import { type HostMetrics, type HostMetricsSource, makeHostMetrics } from './host-metrics.ts';

/** Host metrics, and the lines of furiwake's own metrics, without comments. */
function start(): { readonly set: HostMetrics['set']; readonly lines: () => Promise<readonly string[]> } {
  const metrics = makeMetrics();
  const { set, families } = makeHostMetrics(metrics, '0.2.0');
  const lines = async (): Promise<readonly string[]> => {
    const texts = [await metrics.text([]), ...families().flatMap(({ portions }) => [...portions])];
    return texts.flatMap((text) => text.split('\n')).filter((line) => line.startsWith('furiwake_'));
  };
  return { set, lines };
}

test('readiness, version, pool and Services by status; pool and Services only while they are known', async () => {
  const { set, lines } = start();
  const unknown = { isReady: false, pool: undefined, services: undefined, traffic: new Map(), measured: undefined };
  const unknownLines = ['furiwake_build_info{version="0.2.0"} 1', 'furiwake_ready 0'];
  set(unknown);
  expect((await lines()).toSorted()).toEqual(unknownLines);

  const left = [
    { family: 4, used: 4, count: '0' },
    { family: 6, used: 1, count: '7' },
  ] as const;
  const pool = { ranges: [], size: '12', used: 5, left, leftOut: [], isOwn: false };
  set({ isReady: true, pool, services: new Map([['Serving', 2]]), traffic: new Map(), measured: undefined });
  expect(await lines()).toEqual(
    expect.arrayContaining([
      'furiwake_ready 1',
      'furiwake_services{state="Pending"} 0',
      'furiwake_services{state="Serving"} 2',
      'furiwake_pool_addresses{family="4",state="used"} 4',
      'furiwake_pool_addresses{family="4",state="free"} 0',
      'furiwake_pool_addresses{family="6",state="used"} 1',
      'furiwake_pool_addresses{family="6",state="free"} 7',
    ]),
  );

  set(unknown);
  expect((await lines()).toSorted()).toEqual(unknownLines);
});

test('the traffic of each Service; a Service that is gone, and what its dataplane does not count, have no sample', async () => {
  const { set, lines } = start();
  const show = (traffic: HostMetricsSource['traffic']): void =>
    set({ isReady: true, pool: undefined, services: undefined, measured: undefined, traffic });
  const web = {
    connections: 2,
    total: 5,
    bytesIn: 100,
    bytesOut: 1_000,
    packetsIn: undefined,
    packetsOut: undefined,
    refused: 4,
    rates: undefined,
    recent: undefined,
  };
  const dns = { ...web, connections: undefined, bytesOut: undefined, packetsIn: 30 };
  show(new Map([[serviceKey('shop', 'web'), web]]));
  show(new Map([[serviceKey('shop', 'web'), { ...web, total: 7 }]]));
  const samples = async (): Promise<readonly string[]> =>
    (await lines()).filter((line) => line.startsWith('furiwake_service_'));
  const labels = '{namespace="shop",service="web"}';
  expect(await samples()).toEqual([
    `furiwake_service_connections${labels} 2`,
    `furiwake_service_connections_total${labels} 7`,
    `furiwake_service_received_bytes_total${labels} 100`,
    `furiwake_service_sent_bytes_total${labels} 1000`,
    `furiwake_service_refused_packets_total${labels} 4`,
  ]);
  show(new Map([[serviceKey('shop', 'web'), dns]]));
  expect(await samples()).toEqual([
    `furiwake_service_connections_total${labels} 5`,
    `furiwake_service_received_bytes_total${labels} 100`,
    `furiwake_service_received_packets_total${labels} 30`,
    `furiwake_service_refused_packets_total${labels} 4`,
  ]);
  show(new Map());
  expect(await samples()).toEqual([]);
});

test('the servers that are measured; one that is gone has no sample', async () => {
  const { set, lines } = start();
  const known = { isReady: true, pool: undefined, services: undefined, traffic: new Map() };
  const n1 = { service: serviceKey('shop', 'web'), server: 'n1', connections: 2, total: 9, errors: 3 };
  const queued = new Map([[n1.service, 1]]);
  set({ ...known, measured: { servers: [n1, { ...n1, server: 'n2' }], queued, omitted: 0 } });
  set({ ...known, measured: { servers: [{ ...n1, total: 10 }], queued, omitted: 4 } });
  const labels = '{namespace="shop",service="web",server="n1"}';
  expect((await lines()).filter((line) => line.startsWith('furiwake_server'))).toEqual([
    'furiwake_servers_omitted 4',
    `furiwake_server_connections${labels} 2`,
    `furiwake_server_connections_total${labels} 10`,
    `furiwake_server_errors_total${labels} 3`,
    'furiwake_server_queue{namespace="shop",service="web"} 1',
  ]);
});
