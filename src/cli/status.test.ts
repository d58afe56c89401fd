import { expect, test } from 'vitest';
import type { HostStatus } from '../daemon/host-status.ts';
import { formatDuration, formatStatus } from './status.ts';

const status: HostStatus = {
  version: '0.1.0',
  pid: 12,
  upSeconds: 273_600,
  loadBalancerClass: 'furiwake.dev/haproxy',
  cluster: { server: 'https://192.0.2.2:6443', kubernetes: 'v1.37.2' },
  notReady: [],
  haproxy: { pid: 30, version: '2.6.12', connections: 412, maxConnections: 8_900 },
  pool: {
    ranges: ['192.0.2.200-192.0.2.220'],
    size: '21',
    used: 1,
    leftOut: [{ address: '192.0.2.254', reason: 'default gateway of this host' }],
  },
  services: [
    {
      service: 'default/api',
      status: 'Pending',
      addresses: [],
      ports: [],
      reason: 'PortConflict',
      message: 'port 443 of 192.0.2.200 belongs to Service default/web',
      connections: 0,
      total: 0,
      ageSeconds: 120,
    },
    {
      service: 'default/web',
      status: 'Serving',
      addresses: ['192.0.2.200'],
      ports: [80],
      reason: 'Serving',
      message: '',
      connections: 12,
      total: 4_100,
      ageSeconds: 259_200,
    },
  ],
  nodes: [
    { node: 'n1', family: 4, state: 'up', forSeconds: undefined, connections: 7, total: 2_000 },
    { node: 'n2', family: 4, state: 'drain', forSeconds: 60, connections: 5, total: 9 },
    { node: 'n3', family: 4, state: 'drain', forSeconds: 60, connections: 0, total: 9 },
    { node: 'n4', family: 4, state: 'silent', forSeconds: 125, connections: 0, total: 0 },
  ],
};

test('the screen says what runs, where, how much is left, and how each Service and node fares', () => {
  expect(formatStatus(status)).toBe(`furiwake  0.1.0, PID 12, up 3d4h, class furiwake.dev/haproxy
status    ready
cluster   https://192.0.2.2:6443 (v1.37.2)
HAProxy   2.6.12, PID 30, 412 of at most 8900 connections
pool      1 of 21 addresses used (192.0.2.200-192.0.2.220); left out: 192.0.2.254 (default gateway of this host)

SERVICE      STATUS   ADDRESS      PORTS  CONN  TOTAL  AGE  DETAIL
default/api  Pending  -            -         0      0  2m   port 443 of 192.0.2.200 belongs to Service default/web
default/web  Serving  192.0.2.200  80       12   4100  3d

NODE  FAMILY  STATUS                     CONN  TOTAL
n1    IPv4    up                            7   2000
n2    IPv4    draining for 60s (5 left)     5      9
n3    IPv4    drained for 60s               0      9
n4    IPv4    silent for 2m5s               0      0
`);
});

test('what is not known yet is said', () => {
  const text = formatStatus({
    ...status,
    notReady: ['HAProxy does not run'],
    cluster: undefined,
    haproxy: undefined,
    pool: undefined,
    services: [],
    nodes: [],
  });
  expect(text).toContain('status    not ready: HAProxy does not run\ncluster   not connected yet\n');
  expect(text).toContain('HAProxy   does not answer\npool      not known yet\n\nNo Services.\n\nNo nodes.\n');
});

test.each([
  [5, '5s'],
  [119, '119s'],
  [125, '2m5s'],
  [3_600, '60m'],
  [10_800, '3h'],
  [11_000, '3h3m'],
  [86_400, '24h'],
  [176_400, '2d1h'],
  [8_640_000, '100d'],
])('%i seconds are %s', (seconds, text) => {
  expect(formatDuration(seconds)).toBe(text);
});
