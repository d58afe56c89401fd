import { expect, test } from 'vitest';
import type { ServiceDetail } from '../daemon/service-detail.ts';
import { formatService } from './service-screen.ts';

const paper = { isColoured: false, columns: undefined, timeZone: 'UTC' };
const rates = { connections: 3.14, bytesIn: 12_000, bytesOut: 1_100_000 };
const traffic = {
  connections: 12,
  total: 4_100,
  bytesIn: 1_234_567,
  bytesOut: 88_000_000,
  packetsIn: undefined,
  packetsOut: undefined,
  refused: 17,
  rates,
  recent: undefined,
};
const datagrams = {
  connections: undefined,
  total: 340,
  bytesIn: 45_000,
  bytesOut: undefined,
  packetsIn: 810,
  packetsOut: undefined,
  refused: 0,
  rates: { connections: 2.4, bytesIn: 310, bytesOut: undefined },
  recent: { flows: 250, seconds: 300 },
};
const n1 = { node: 'n1', family: 4, address: '192.0.2.11', connections: 12, total: 4_103, uncounted: [] } as const;

const offLink = (node: string): string => `${node} has no address in a LAN of the load-balancer host`;

const detail: ServiceDetail = {
  at: '2026-11-27T08:33:37Z',
  notReady: [],
  haproxy: {
    pid: 30,
    version: '2.6.12',
    connections: 412,
    maxConnections: 8_900,
    oldWorkers: 0,
    oldConnections: 0,
    upSeconds: 259_200,
  },
  haproxyTrouble: undefined,
  service: {
    service: 'shop/web',
    status: 'Partly served',
    addresses: ['192.0.2.200', '2001:db8::200'],
    ports: [],
    reason: 'PartlyServing',
    message: 'SCTP port 5 is not served',
    traffic,
    ageSeconds: 259_200,
  },
  listeners: [
    {
      address: '192.0.2.200',
      port: 80,
      protocol: 'TCP',
      dataplane: 'haproxy',
      cause: 'TCP',
      stoodInBy: undefined,
      nodePort: 30_692,
      sourceRanges: 2,
      traffic,
    },
    {
      address: '2001:db8::200',
      port: 53,
      protocol: 'UDP',
      dataplane: 'direct',
      cause: 'no nodePort',
      stoodInBy: undefined,
      nodePort: undefined,
      sourceRanges: undefined,
      traffic: datagrams,
    },
  ],
  endpoints: undefined,
  nodes: [
    { ...n1, state: 'silent', since: '2026-11-27T08:33:20Z', health: 'silent', healthSince: '2026-11-27T08:33:20Z' },
  ],
};

test.each<[file: string, detail: ServiceDetail]>([
  ['partly-served', detail],
  [
    'without-haproxy',
    {
      ...detail,
      notReady: ['HAProxy does not run'],
      haproxy: undefined,
      haproxyTrouble: 'cannot start: no such file',
      service: {
        ...detail.service,
        reason: 'PartlyServing',
        message: 'no connections to port 80 of 192.0.2.200, because HAProxy does not serve: no such file',
      },
      listeners: detail.listeners.map((each) => ({
        ...each,
        dataplane: 'direct',
        cause: each.protocol === 'TCP' ? 'affinity' : 'no nodePort',
        stoodInBy: each.protocol === 'TCP' ? 'haproxy' : undefined,
      })),
      nodes: [],
    },
  ],
  [
    'with-nodes-of-its-own',
    {
      ...detail,
      endpoints: [
        { node: 'n1', family: 4, weight: 2, state: 'taking' },
        { node: 'n3', family: 4, weight: 1, state: 'terminating' },
        { node: 'n1', family: 6, weight: 2, state: 'taking' },
      ],
    },
  ],
  [
    'with-unreached-nodes',
    {
      ...detail,
      endpoints: [
        { node: 'n1', family: 4, weight: 2, state: 'taking' },
        { node: 'n3', family: 4, weight: 1, state: 'unreached', why: offLink('n3') },
        { node: 'n4', family: 4, weight: 3, state: 'taking' },
        { node: 'n3', family: 6, weight: 1, state: 'unreached', why: offLink('n3') },
        { node: 'n4', family: 6, weight: 3, state: 'unreached', why: offLink('n4') },
      ],
    },
  ],
])('the screen of a Service, %s', async (file, shown) => {
  await expect(formatService(shown, paper)).toMatchFileSnapshot(`__golden__/service-${file}.txt`);
});
