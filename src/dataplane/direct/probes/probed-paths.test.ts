import { expect, test } from 'vitest';
import { addressOf, directListener, localTable, node, tableOf } from '../../../../test/make/table.ts';
import type { ProbedPath } from './answer-probe.ts';
import { probedPaths } from './probed-paths.ts';

const tcp = { protocol: 'TCP', isPublished: true } as const;
const web = directListener('203.0.113.1', 80, tcp);
const mail = directListener('203.0.113.2', 25, tcp);
const lan = { name: 'eth0', index: 2, mac: '02:00:00:00:00:02', mtu: 1_500 };
const own = [addressOf('198.51.100.9'), addressOf('192.0.2.2')];

const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12', '2001:db8::12')];

/** By node and family; of a path without a listener the port is `-`. */
function pathsOf(
  listeners: Parameters<typeof tableOf>[0],
  more: Partial<Parameters<typeof probedPaths>[0]> = {},
): Readonly<Record<string, string>> | undefined {
  const paths = probedPaths({
    table: tableOf(listeners, nodes),
    linkOf: ({ text }) => (text.startsWith('192.0.2.') ? lan : undefined),
    own,
    macs: new Map([
      ['192.0.2.11', '02:00:00:00:00:11'],
      ['192.0.2.12', '02:00:00:00:00:12'],
    ]),
    isOpen: () => true,
    isMissing: () => true,
    isUnheard: () => false,
    before: { listeners: tableOf([]).listeners, paths: new Map() },
    isRefresh: true,
    hasOpened: false,
    turn: 0,
    ...more,
  });
  if (paths === undefined) return undefined;
  return Object.fromEntries(
    Array.from(paths, ([hop, { link, nodeMac, vip, port }]) => [
      hop,
      `${link.address.text} ${nodeMac.slice(-2)} ${vip.text} ${port ?? '-'}`,
    ]),
  );
}

test('each node on a link of the host has a path from the own address there; the listeners take turns', () => {
  expect(pathsOf([web])).toEqual({ 'n1 4': '192.0.2.2 11 203.0.113.1 80', 'n2 4': '192.0.2.2 12 203.0.113.1 80' });
  const turns = [3, 4].map((turn) => pathsOf([web, mail], { turn })?.['n1 4']);
  expect(new Set(turns)).toEqual(new Set(['192.0.2.2 11 203.0.113.1 80', '192.0.2.2 11 203.0.113.2 25']));
});

test.each([
  ['that is not published', directListener('203.0.113.1', 80, { protocol: 'TCP' })],
  ['of HAProxy', directListener('203.0.113.1', 80, { ...tcp, dataplane: 'haproxy' })],
  ['of the other family', directListener('2001:db8:f::1', 80, tcp)],
])('with a listener %s nothing is probed', (_, listener) => expect(pathsOf([listener])).toEqual({}));

const alone = { 'n1 4': '192.0.2.2 11 203.0.113.1 -', 'n2 4': '192.0.2.2 12 203.0.113.1 -' };

test.each([
  ['of UDP', directListener('203.0.113.1', 53)],
  ['with source ranges', directListener('203.0.113.1', 80, { ...tcp, sourceRanges: [] })],
])('a listener %s is not asked: its address is probed alone, before it is published', (_, listener) => {
  expect(pathsOf([listener], { isOpen: () => false })).toEqual(alone);
});

test('a node without Pods of a Local listener is not asked for it, nor is one that was probed in vain asked for Pods only', () => {
  const local = { ...web, backend: 'local4:test/service' as typeof web.backend };
  const table = localTable([[local, { n1: 1, n2: { terminating: 1 } }]], nodes);
  expect(pathsOf([], { table })).toEqual({ ...alone, 'n1 4': '192.0.2.2 11 203.0.113.1 80' });
  const turns = [0, 1].map((turn) => pathsOf([web], { turn, isUnheard: () => true })?.['n1 4']);
  expect(new Set(turns)).toEqual(new Set([alone['n1 4'], '192.0.2.2 11 203.0.113.1 80']));
});

test('a node is probed only where the gate is open, and its MAC is known', () => {
  expect(Object.keys(pathsOf([web], { isOpen: (_, name) => name === 'n1' }) ?? {})).toEqual(['n1 4']);
  expect(Object.keys(pathsOf([web], { macs: new Map([['192.0.2.12', '02:00:00:00:00:12']]) }) ?? {})).toEqual(['n2 4']);
});

test('a node that is shown to answer has a path to the address alone', () => {
  const isMissing = (hop: string): boolean => hop !== 'n1 4';
  expect(pathsOf([web], { isMissing })).toEqual({ 'n1 4': alone['n1 4'], 'n2 4': '192.0.2.2 12 203.0.113.1 80' });
  expect(pathsOf([web], { isMissing: () => false })).toEqual(alone);
});

const path = (vip: string, port?: number): ProbedPath => ({
  link: { ...lan, address: addressOf('192.0.2.2') },
  nodeMac: '02:00:00:00:00:11',
  nodeAddress: addressOf('192.0.2.11'),
  vip: addressOf(vip),
  port,
});

test.each<[string, Parameters<typeof tableOf>[0], ReturnType<typeof pathsOf>]>([
  ['stay when another listener comes', [web, mail], undefined],
  [
    'lead to another listener when theirs goes',
    [mail],
    { 'n1 4': '192.0.2.2 11 203.0.113.2 25', 'n2 4': '192.0.2.2 12 203.0.113.2 25' },
  ],
  ['end with the last listener', [], {}],
])('without a refresh paths %s', (_, listeners, expected) => {
  const before = {
    listeners: tableOf([web]).listeners,
    paths: new Map(['n1 4', 'n2 4'].map((hop) => [hop, path('203.0.113.1', 80)])),
  };
  expect(pathsOf(listeners, { before, isRefresh: false })).toEqual(expected);
});

test('the path to an address alone stays while a listener has the address', () => {
  const both = [web, directListener('203.0.113.1', 25, tcp)];
  const isUnheard = (): boolean => true;
  const pathsAfter = (before: typeof both, after: typeof both): unknown =>
    pathsOf(after, {
      before: {
        listeners: tableOf(before).listeners,
        paths: new Map(['n1 4', 'n2 4'].map((hop) => [hop, path('203.0.113.1')])),
      },
      isRefresh: false,
      isUnheard,
    });
  expect(pathsAfter([web], both)).toBeUndefined();
  expect(pathsAfter([web], [mail])).toBeDefined();
});

test('a node without a path gets one with the first listener, unless its MAC is not known', () => {
  const change = { before: { listeners: tableOf([]).listeners, paths: new Map() }, isRefresh: false };
  expect(Object.keys(pathsOf([web], change) ?? {})).toEqual(['n1 4', 'n2 4']);
  expect(pathsOf([web], { ...change, macs: new Map() })).toBeUndefined();
});

test('a node without a path gets one when the gate opens a listener', () => {
  const before = { listeners: tableOf([web]).listeners, paths: new Map() };
  const found = [false, true].map((hasOpened) => pathsOf([web], { before, isRefresh: false, hasOpened }));
  expect(found.map((paths) => Object.keys(paths ?? {}).length)).toEqual([0, 2]);
});

test('nodes that are shown to answer need no other path while nothing but listeners changes', () => {
  const before = { listeners: tableOf([]).listeners, paths: new Map() };
  expect(pathsOf([web], { before, isMissing: () => false, isRefresh: false })).toBeUndefined();
});
