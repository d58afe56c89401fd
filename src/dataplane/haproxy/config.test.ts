import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { expect, onTestFinished, test } from 'vitest';
import { addressOf, nodeName, row, server, tableOf } from '../../../test/netns/rows.ts';
import type { Backend, TrafficTable } from '../../core/traffic/table.ts';
import { type Desired, planDesired } from './desired.ts';
import { mapText } from './rows.ts';
import { type Layout, type ProfileId, parseLayout } from './layout.ts';
import { formatIdentity, identityOf, parseIdentity } from './program.ts';
import type { Settings } from './settings.ts';

const settings: Settings = {
  folder: '/var/lib/furiwake/haproxy',
  listenPort: 17_100,
  maxConnections: 8900,
  idleTimeoutSeconds: 3600,
  hasIpv6: true,
  account: undefined,
};

const nodes: TrafficTable['nodes'] = {
  4: [server('n1', '192.0.2.11'), { ...server('n2.example', '192.0.2.12'), state: 'drain' }],
  6: [server('n1', '2001:db8::11')],
};

function own(algorithm: 'roundrobin' | 'leastconn' | 'source', proxyProtocol: 'none' | 'v1' | 'v2'): Backend {
  const six = { node: nodeName('n1'), address: addressOf('2001:db8::11'), port: 30_692, weight: 1 };
  const four = { node: nodeName('n2.example'), address: addressOf('192.0.2.12'), port: 30_692, weight: 3 };
  return { kind: 'own', profile: { algorithm, proxyProtocol }, servers: [six, four] };
}

function plan(table: TrafficTable, more: Partial<Settings> = {}): Desired {
  return planDesired({ ...settings, ...more }, table, new Map(), undefined, undefined);
}

const scenarios: Readonly<Record<string, Desired>> = {
  'nothing yet': plan(tableOf([])),
  'nodes of both families, one draining, and rows': plan(
    tableOf([row('192.0.2.51', 80, 30_692), row('2001:db8::51', 443, 30_700, { maxConnections: 10 })], nodes),
  ),
  'slots of several profiles': plan(
    tableOf(
      [
        row('192.0.2.51', 80, own('roundrobin', 'none')),
        row('192.0.2.52', 80, own('leastconn', 'v1')),
        row('192.0.2.53', 80, own('source', 'v2')),
        row('192.0.2.54', 80, own('source', 'v2')),
      ],
      nodes,
    ),
  ),
  'without IPv6, as another user': plan(tableOf([], nodes), { hasIpv6: false, account: { uid: 106, gid: 112 } }),
};

test.each(Object.entries(scenarios))('golden: %s, as HAProxy accepts it', async (name, { config, entries }) => {
  const map = mapText(entries);
  const file = name.replaceAll(/\W+/g, '-');
  await expect(config).toMatchFileSnapshot(`__golden__/${file}.cfg`);
  await expect(map).toMatchFileSnapshot(`__golden__/${file}.map`);
  const folder = mkdtempSync(`${tmpdir()}/golden-`);
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(`${folder}/haproxy.cfg`, config.replaceAll(settings.folder, folder));
  writeFileSync(`${folder}/services.map`, map);
  const verdict = execFileSync('/usr/sbin/haproxy', ['-c', '-V', '-f', `${folder}/haproxy.cfg`], { encoding: 'utf8' });
  expect(verdict).toContain('Configuration file is valid');
});

test('rows on the shared nodes never change the configuration', () => {
  const first = plan(tableOf([], nodes));
  const rows = Array.from({ length: 100 }, (_, index) => row(`192.0.2.${index}`, 80, 30_000 + index));
  expect(plan(tableOf(rows, nodes)).config).toBe(first.config);
});

test('the identity changes with the program and its slots, never with nodes or rows', () => {
  const none: Layout = new Map();
  const base = identityOf(settings, none);
  expect(plan(tableOf([row('192.0.2.51', 80, 30_692)], nodes)).identity).toEqual(base);
  const eight: Layout = new Map<ProfileId, number>([['source_v2', 8]]);
  const others = [
    identityOf(settings, eight),
    identityOf({ ...settings, listenPort: 17_101 }, none),
    identityOf({ ...settings, maxConnections: 1 }, none),
    identityOf({ ...settings, idleTimeoutSeconds: 1 }, none),
    identityOf({ ...settings, hasIpv6: false }, none),
    identityOf({ ...settings, account: { uid: 1, gid: 1 } }, none),
  ];
  expect(new Set([base, ...others].map(({ hash }) => hash)).size).toBe(7);
});

test('what a process says of itself is read back; the words of another HAProxy are none of ours', () => {
  const identity = identityOf(settings, parseLayout('source_v2=8+leastconn_none=16'));
  expect(identity.layout).toBe('leastconn_none=16+source_v2=8');
  expect(parseIdentity(formatIdentity(identity))).toEqual(identity);
  for (const other of ['', 'furiwake', 'front of the web farm', `furiwake ${identity.hash} - more`])
    expect(parseIdentity(other)).toBeUndefined();
});
