import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { expect, onTestFinished, test } from 'vitest';
import { withOptions } from '../../../../test/make/options.ts';
import {
  listener,
  localListener,
  localTable,
  podListener,
  podTable,
  node,
  tableOf,
} from '../../../../test/make/table.ts';
import type { Listener, TrafficTable } from '../../../core/traffic/table.ts';
import { makeListener } from '../../../core/traffic/make-listener.ts';
import { connectionLimit, descriptionOf, parseDescription, pathsIn, type Settings } from './config.ts';
import { type Desired, fullConfigOf, planDesired } from './desired.ts';
import { mapText } from './entries.ts';

const settings: Settings = {
  folder: '/run/furiwake/net-1/haproxy',
  maxConnections: 8900,
  idleTimeoutSeconds: 3600,
  hasIpv6: true,
  account: undefined,
};

const nodes = [
  node('n1', '192.0.2.11', '2001:db8::11'),
  { ...node('n2.example', '192.0.2.12'), state: 'drain' as const },
];

function plan(table: TrafficTable, more: Partial<Settings> = {}): Desired {
  return planDesired({ ...settings, ...more }, table, undefined);
}

function affine(plain: Listener): Listener {
  const { options } = withOptions('192.0.2.51', 80, 0, { profile: { affinitySeconds: 10_800 } });
  return makeListener({ ...plain, options });
}

const scenarios: Readonly<Record<string, readonly [TrafficTable, Partial<Settings>?]>> = {
  'nothing yet': [tableOf([])],
  'nodes of both families, one draining, and listeners': [
    tableOf([listener('192.0.2.51', 80, 30_692), listener('2001:db8::51', 443, 30_700)], nodes),
  ],
  'backends of their own': [
    localTable(
      [
        [localListener('192.0.2.51', 80, 30_692, 'test/web'), { n1: 2, 'n2.example': 1 }],
        [localListener('2001:db8::51', 80, 30_693, 'test/mail'), { n1: 1 }],
        [localListener('192.0.2.52', 80, 30_694, 'test/empty'), {}],
      ],
      nodes,
    ),
  ],
  options: [
    tableOf(
      [
        withOptions('192.0.2.51', 25, 30_025, {
          server: { proxyProtocol: 1, mostConnections: 10, slowStartMs: 30_000, drainMs: 60_000 },
        }),
        withOptions('192.0.2.51', 80, 30_080, {
          profile: { mode: 'http', serverTimeoutMs: 5000 },
          limits: { rate: 100 },
        }),
        withOptions('2001:db8::51', 81, 30_081, { profile: { mode: 'http', balance: 'leastconn' } }),
        withOptions('2001:db8::51', 80, 30_080, {
          server: { proxyProtocol: 2, check: { intervalMs: 5000, fall: 3, rise: 2 } },
          profile: {
            balance: 'source',
            connectTimeoutMs: 2000,
            idleTimeoutMs: 600_000,
            checkPath: '/ready?full=1',
          },
        }),
      ],
      nodes,
    ),
  ],
  Pods: [
    podTable(
      [
        [podListener('192.0.2.51', 80, 'test/web'), ['10.244.1.7 8080 n1', '10.244.2.9 8080 draining']],
        [podListener('2001:db8::51', 80, 'test/web'), ['fd00::7 8080 n1']],
      ],
      nodes,
    ),
  ],
  'Pods with affinity': [
    podTable(
      [
        [affine(podListener('192.0.2.51', 80, 'test/web')), ['10.244.1.7 8080 n1', '10.244.2.9 8080 draining']],
        [affine(podListener('2001:db8::51', 80, 'test/web')), ['fd00::7 8080 n1']],
      ],
      nodes,
    ),
  ],
  'without IPv6, as another user': [tableOf([], nodes), { hasIpv6: false, account: { uid: 106, gid: 112 } }],
};

test.each(Object.entries(scenarios))('golden: %s, as HAProxy accepts it', async (name, [table, more]) => {
  const desired = plan(table, more);
  const config = fullConfigOf({ ...settings, ...more }, desired);
  const map = mapText(desired.entries);
  const file = name.replaceAll(/\W+/g, '-');
  await expect(config).toMatchFileSnapshot(`__golden__/${file}.cfg`);
  await expect(map).toMatchFileSnapshot(`__golden__/${file}.map`);
  const folder = mkdtempSync(`${tmpdir()}/golden-`);
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(`${folder}/haproxy.cfg`, config.replaceAll(settings.folder, folder));
  writeFileSync(`${folder}/services.map`, map);
  const verdict = spawnSync('/usr/sbin/haproxy', ['-c', '-V', '-f', `${folder}/haproxy.cfg`], { encoding: 'utf8' });
  expect(verdict.stdout).toContain('Configuration file is valid');
  expect(verdict.stderr).not.toMatch(/WARNING|ALERT/);
});

test('listeners never change the configuration', () => {
  const first = plan(tableOf([], nodes));
  const listeners = Array.from({ length: 100 }, (_, index) => listener(`192.0.2.${index}`, 80, 30_000 + index));
  expect(plan(tableOf(listeners, nodes)).config).toBe(first.config);
});

test('HAProxy listens on ports below 1024, which no local user can take from it', () => {
  const config = fullConfigOf(settings, plan(tableOf([], nodes)));
  const ports = [...config.matchAll(/^ +bind \S+:(\d+) /gm)].map(([, port]) => Number(port));
  expect(ports).toHaveLength(2); // one for each family
  for (const port of ports) expect(port).toBeLessThan(1024);
});

test('the program depends on the settings, never on the nodes', () => {
  const base = plan(tableOf([])).program;
  const inConfig = (desired: Desired): unknown =>
    parseDescription(/description "(.*)"/.exec(desired.config)?.[1] ?? '');
  expect(inConfig(plan(tableOf([listener('192.0.2.51', 80, 30_692)], nodes)))).toBe(base);
  const others = [
    plan(tableOf([]), { maxConnections: 1 }).program,
    plan(tableOf([]), { idleTimeoutSeconds: 1 }).program,
    plan(tableOf([]), { hasIpv6: false }).program,
    plan(tableOf([]), { account: { uid: 1, gid: 1 } }).program,
  ];
  expect(new Set([base, ...others]).size).toBe(5);
});

test('the description of a process is read back; that of another HAProxy is not, nor that of release 0.1.0, which has another port', () => {
  const { program } = plan(tableOf([]));
  expect(parseDescription(descriptionOf(program))).toBe(program);
  expect(parseDescription(`furiwake ${program} -`)).toBeUndefined();
  for (const other of ['', 'furiwake', 'front of the web farm', `furiwake ${program} - more`])
    expect(parseDescription(other)).toBeUndefined();
});

test.each([
  ['relative', 'var/lib/furiwake'],
  ['with a blank', '/var/lib/furi wake'],
  ['with a comma, which would end an argument of a converter', '/var/lib/a,b'],
  ['with a quote', '/var/lib/"'],
  ['with a line break', '/var/lib\nbackend x'],
  ['too long for the temporary name of the socket', `/${'a'.repeat(86)}`],
])('a folder that is %s is refused', (_, folder) => {
  expect(() => pathsIn(folder)).toThrow(RangeError);
});

test('a folder of 85 characters is short enough', () => {
  expect(pathsIn(`/${'a'.repeat(84)}`).masterSocket).toHaveLength(97);
});

test.each([
  [1024, 384],
  [4096, 1536],
  [20_000, 8900],
  [1_048_576, 500_000],
])('%i descriptors are enough for %i connections, two each, with a reserve', (descriptors, connections) => {
  expect(connectionLimit(descriptors)).toBe(connections);
});
