import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import type { HostStatus, NodeLine } from '../daemon/host-status.ts';
import { formatStatus } from './status-screen.ts';

function node(name: string, health: NodeLine['health'], since?: string): NodeLine {
  return {
    node: name,
    family: 4,
    address: `192.0.2.1${name.slice(1)}`,
    state: health,
    since,
    health,
    healthSince: since,
    connections: 0,
    total: 0,
    uncounted: [],
  };
}

const drainedAt = '2026-11-27T08:32:00Z';
const at = '2026-11-27T08:33:37Z';
const status: HostStatus = {
  at,
  version: '0.1.0',
  pid: 12,
  upSeconds: 273_600,
  loadBalancerClass: 'furiwake.dev/haproxy',
  cluster: { server: 'https://192.0.2.2:6443', kubernetes: 'v1.37.2' },
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
  pool: {
    ranges: ['192.0.2.200-192.0.2.220'],
    size: '21',
    used: 1,
    left: [{ family: 4, used: 1, count: '20' }],
    leftOut: [{ address: '192.0.2.254', reason: 'default gateway of this host' }],
    isOwn: false,
  },
  services: [
    {
      service: 'default/api',
      status: 'Pending',
      addresses: [],
      ports: [],
      reason: 'PortConflict',
      message: 'port 443 of 192.0.2.200 belongs to Service default/web',
      traffic: undefined,
      ageSeconds: 120,
    },
    {
      service: 'default/web',
      status: 'Serving',
      addresses: ['192.0.2.200'],
      ports: [{ port: 80, protocol: 'TCP' }],
      reason: 'Serving',
      message: '',
      traffic: {
        connections: 12,
        total: 4_100,
        bytesIn: 1_234_567,
        bytesOut: 88_000_000,
        packetsIn: undefined,
        packetsOut: undefined,
        refused: 0,
        rates: { connections: 0.25, bytesIn: 980.4, bytesOut: 1_150_000 },
        recent: undefined,
      },
      ageSeconds: 259_200,
    },
  ],
  otherServices: 0,
  nodeStates: { up: 1, silent: 1, drained: 2, excluded: 1 },
  nodes: [
    { ...node('n1', 'up'), connections: 7, total: 2_000 },
    { ...node('n2', 'up'), state: 'drain', since: drainedAt, connections: 5, total: 9 },
    { ...node('n3', 'silent', '2026-11-27T08:33:20Z'), state: 'drain', since: drainedAt, total: 9 },
    node('n4', 'silent', '2026-11-26T23:59:59.999Z'),
  ],
  unusedNodes: [
    {
      node: 'n5',
      addresses: ['192.0.2.15', '2001:db8::15'],
      state: 'excluded',
      reason: 'label node.kubernetes.io/exclude-from-external-load-balancers',
    },
  ],
};

const line = (
  service: string,
  state: HostStatus['services'][number]['status'],
  rest: Partial<HostStatus['services'][number]> = {},
): HostStatus['services'][number] => ({
  service,
  status: state,
  addresses: [],
  ports: [],
  reason: '',
  message: '',
  traffic: undefined,
  ageSeconds: 3_600,
  ...rest,
});
const paper = { isColoured: false, columns: undefined, timeZone: 'UTC' };

const noEndpoints = line('default/empty', 'No endpoints', {
  addresses: ['192.0.2.201', '2001:db8:0:1::201'],
  ports: [80, 443, ...Array.from({ length: 100 }, (_, index) => 8_000 + index), 9_000, 9_002, 9_004].map((port) => ({
    port,
    protocol: 'TCP' as const,
  })),
  message: 'the Service has no ready endpoints',
});
const exhausted = line('default/late', 'Pending', {
  message: 'port 80 is in use on both IPv4 addresses of the pool: add addresses, or use another port',
});

test.each<[file: string, status: HostStatus, columns?: number]>([
  ['ready', status],
  ['no-endpoints', { ...status, services: [...status.services, noEndpoints] }],
  ['no-endpoints-on-100-columns', { ...status, services: [...status.services, noEndpoints] }, 100],
  [
    'pool-exhausted',
    {
      ...status,
      pool: {
        ranges: ['192.0.2.200-192.0.2.201'],
        size: '2',
        used: 2,
        left: [{ family: 4, used: 1, count: '0' }],
        leftOut: [],
        isOwn: false,
      },
      services: [exhausted, ...status.services],
    },
  ],
  [
    'api-server-unreachable',
    { ...status, notReady: ['the API server does not answer: connection refused by 192.0.2.2:6443'] },
  ],
  [
    'nothing-known-yet',
    {
      ...status,
      notReady: ['connecting to the API server https://192.0.2.2:6443', 'nothing is programmed yet'],
      cluster: undefined,
      haproxy: undefined,
      haproxyTrouble: 'not started',
      pool: undefined,
      services: [],
      nodeStates: undefined,
      nodes: [],
      unusedNodes: [],
    },
  ],
])('the screen %s', async (file, shown, columns) => {
  const text = formatStatus(shown, { ...paper, columns });
  await expect(text).toMatchFileSnapshot(`__golden__/status-${file}.txt`);
});

test.each([
  [1, '1 Service of another class or namespace is not shown.\n'],
  [2, '2 Services of another class or namespace are not shown.\n'],
])('%i Services of other classes are counted', (otherServices, words) => {
  expect(formatStatus({ ...status, otherServices }, paper)).toContain(`\n${words}\nNODE`);
  expect(formatStatus(status, paper)).not.toContain('not shown');
});

test.each([
  [0, 'connections'],
  [1, 'connections; 1 replaced worker has 30 more'],
  [2, 'connections; 2 replaced workers have 30 more'],
])('of %i replaced workers the connections are shown', (oldWorkers, words) => {
  const haproxy = { ...status.haproxy!, oldWorkers, oldConnections: 30 };
  expect(formatStatus({ ...status, haproxy }, paper)).toContain(`412 of at most 8900 ${words}\n`);
});

test('ports have their protocol', () => {
  const ports = [
    { port: 53, protocol: 'UDP' as const },
    { port: 80, protocol: 'TCP' as const },
    { port: 53, protocol: 'TCP' as const },
  ];
  expect(formatStatus({ ...status, services: [line('default/dns', 'Serving', { ports })] }, paper)).toContain(
    '  53/UDP,53/TCP,80/TCP  ',
  );
});

test('names five of the addresses excluded from the pool', () => {
  const leftOut = Array.from({ length: 7 }, (_, index) => ({ address: `192.0.2.${index}`, reason: 'a node' }));
  const text = formatStatus(
    { ...status, pool: { ranges: [], size: '0', used: 0, left: [], leftOut, isOwn: false } },
    paper,
  );
  expect(text).toContain('192.0.2.4 (a node), and 2 more\n');
});

test('of a pool of both families it says how many of each are left', () => {
  const left = [
    { family: 4, used: 1, count: '0' },
    { family: 6, used: 1, count: '18446744073709551615' },
  ] as const;
  const ranges = ['192.0.2.51', '2001:db8::/64'];
  const pool = { ranges, size: '18446744073709551617', used: 2, left, leftOut: [], isOwn: false };
  expect(formatStatus({ ...status, pool }, paper)).toContain(
    '\npool      2 of 18446744073709551617 addresses used, none of IPv4 and 18446744073709551615 of IPv6 left (192.0.2.51, ',
  );
});

test('of the own addresses of the host none is called left or used: Services share them by port', () => {
  const pool = { ranges: ['192.0.2.51', '2001:db8::51'], size: '2', used: 2, left: [], leftOut: [], isOwn: true };
  const words = /^pool .*$/m.exec(formatStatus({ ...status, pool }, paper))?.[0];
  expect(words).toBe("pool      192.0.2.51, 2001:db8::51 (this host's own, which Services share by port)");
});

test('colours mark the state, and the columns stay where they are', () => {
  const text = formatStatus(status, { ...paper, isColoured: true });
  expect(text).toContain('default/api  \u001b[33mPending\u001b[39m  -  ');
  expect(text).toContain('\u001b[32mServing\u001b[39m');
  expect(text).toContain('\u001b[31msilent since 2026-11-26 23:59:59\u001b[39m');
  expect(stripVTControlCharacters(text)).toBe(formatStatus(status, paper));
});

test.each<[words: string, health: NodeLine['health'], since: string | undefined, connections: number]>([
  ['silent since 08:30:00, drained since 08:32:00', 'silent', drainedAt, 0],
  ['silent since 08:30:00, draining since 08:32:00 (3 left)', 'silent', drainedAt, 3],
  ['unhealthy since 08:30:00, drained', 'unhealthy', undefined, 0],
])('a drain does not hide the health of a node: %s', (words, health, since, connections) => {
  const nodes: readonly NodeLine[] = [
    { ...node('n1', health, '2026-11-27T08:30:00Z'), state: 'drain', since, connections },
  ];
  expect(formatStatus({ ...status, nodes }, paper)).toContain(`  ${words}  `);
  expect(formatStatus({ ...status, nodes }, { ...paper, isColoured: true })).toContain(`\u001b[31m${words}\u001b[39m`);
});

test('a node that drains is not called drained while flows past HAProxy continue', () => {
  const drain = { ...node('n1', 'up'), state: 'drain' as const, since: drainedAt };
  const rowOf = (shown: NodeLine): string | undefined =>
    /^n1 .*$/m.exec(formatStatus({ ...status, nodes: [shown], unusedNodes: [] }, paper))?.[0];
  expect(rowOf(drain)).toBe('n1    192.0.2.11  drained since 08:32:00     0      0');
  expect(rowOf({ ...drain, uncounted: ['direct', 'nat'] })).toBe(
    'n1    192.0.2.11  draining since 08:32:00     0      0  flows of direct and nat also continue, and are not counted',
  );
});

test('no escape sequence and no line break of a message reaches the terminal', () => {
  const services = [line('default/a', 'Pending', { message: 'a\n\u001b[2Jb' })];
  expect(formatStatus({ ...status, services }, paper)).toContain('  a [2Jb\n');
});
