import { expect, test } from 'vitest';
import { blankReport } from '../../test/make/status.ts';
import { listener, nodeName, tableOf } from '../../test/make/table.ts';
import { serviceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Revision } from '../core/revision.ts';
import { emptyReport, type HostReport, type ListenerReport } from '../core/traffic/report.ts';
import { localBackend } from '../core/traffic/table.ts';
import { concernsPlan, isSameHost, servicesConcerned } from './report-changes.ts';

const web = serviceKey('shop', 'web');
const old = serviceKey('shop', 'old');
const other = serviceKey('shop', 'other');
const [first, second] = [listener('192.0.2.1', 80, 30_080), listener('192.0.2.2', 80, 30_080)];

function reportOf(...listeners: readonly (readonly [{ readonly key: typeof first.key }, Partial<ListenerReport>])[]) {
  return {
    ...emptyReport,
    listeners: PersistentMap.from(
      listeners.map(([{ key }, report]) => [key, { ...blankReport, isForwarding: true, ...report }] as const),
    ),
  };
}

const revision = 'r1' as Revision;
const held = reportOf([first, { holder: web, revision }], [second, { holder: other, revision, isForwarding: false }]);

test('a changed listener concerns the Services that have it, had it and will have it', () => {
  const next = reportOf([first, { holder: web, isForwarding: false }]);
  const before = reportOf([first, { holder: old }]);
  expect([...servicesConcerned(before, next, tableOf([{ ...first, service: other }], []))]).toEqual([old, web, other]);
  expect([...servicesConcerned(next, next, undefined)]).toEqual([]);
});

test('a listener that the host begins to program concerns no Service, unless it is of another one than wanted', () => {
  const begun = reportOf([first, { holder: web, isForwarding: false }]);
  const tableFor = (service: typeof web) => tableOf([{ ...first, service }], []);
  expect([...servicesConcerned(emptyReport, begun, tableFor(web))]).toEqual([]);
  expect([...servicesConcerned(emptyReport, begun, tableFor(other))]).toEqual([web, other]);
  expect([...servicesConcerned(begun, emptyReport, undefined)]).toEqual([web]); // it is removed
  const refused = reportOf([first, { holder: web, isForwarding: false, proxyTrouble: 'no' }]);
  expect([...servicesConcerned(emptyReport, refused, tableFor(web))]).toEqual([web]);
});

test.each<[what: string, change: Partial<HostReport>]>([
  ['what direct lacks', { directObstacles: new Map() }],
  ['the health of nodes', { health: new Map() }],
])('%s concerns the Services whose packets are dropped, and no other', (_, change) => {
  expect([...servicesConcerned(held, { ...held, ...change }, undefined)]).toEqual([other]);
  const begun = reportOf([first, { holder: web, isForwarding: false }]);
  expect([...servicesConcerned(begun, { ...begun, ...change }, undefined)]).toEqual([]);
});

test.each<[what: string, change: Partial<HostReport>]>([
  ['what direct lacks', { directObstacles: new Map() }],
  ['the health of nodes', { health: new Map() }],
])('%s concerns the Services whose packets direct sends to nodes of their own', (_, change) => {
  const forwarding = reportOf([first, { holder: web, revision }]);
  const next = { ...forwarding, ...change };
  const own = { ...first, dataplane: 'direct', backend: localBackend(4, web) } as const;
  expect([...servicesConcerned(forwarding, next, tableOf([own], []))]).toEqual([web]);
  expect([...servicesConcerned(forwarding, next, tableOf([{ ...own, backend: first.backend }], []))]).toEqual([]);
});

test('a backend whose nodes are not confirmed concerns its Service', () => {
  const unconfirmed = PersistentMap.from([
    [localBackend(4, web), { nodes: [nodeName('n1')], areUsed: false }] as const,
  ]);
  expect([...servicesConcerned(held, { ...held, unconfirmed }, undefined)]).toEqual([web]);
});

const changes = {
  health: new Map(),
  duplicates: new Map(),
  onLink: new Set<4>(),
  routed: [],
  ownAddresses: new Map(),
  primaryAddresses: [],
  needs: new Map(),
} satisfies Partial<HostReport>;

test.each(Object.entries(changes))('a plan depends on %s', (part, value) => {
  const next: HostReport = { ...held, [part]: value };
  expect(concernsPlan(held, next)).toBe(true);
  expect(isSameHost(held, next)).toBe(!['ownAddresses', 'primaryAddresses', 'needs'].includes(part));
});

test('a plan does not depend on listeners', () => {
  expect(concernsPlan(held, { ...held, listeners: PersistentMap.empty() })).toBe(false);
});
