import { expect, test } from 'vitest';
import { makeService, udp } from '../../../test/make/service.ts';
import { blankReport, conditions, statusOf } from '../../../test/make/status.ts';
import {
  addressOf,
  directListener,
  localListener,
  localTable,
  node,
  nodeName,
  tableOf,
} from '../../../test/make/table.ts';
import { PersistentMap } from '../persistent-map.ts';
import type { DirectObstacle, DirectObstacles, NodeHealth } from '../traffic/report.ts';
import type { Listener, TrafficTable } from '../traffic/table.ts';
import { unreachedNodes } from './unreached-nodes.ts';

const n1 = node('n1', '192.0.2.11');
const n3 = node('n3', '10.9.0.13');
const ofAll = directListener('192.0.2.8', 53, { isPublished: true });
const ofOwn: Listener = { ...ofAll, backend: localListener('192.0.2.8', 53, 0).backend };

/** Why n3, which has an endpoint as n1 has, gets nothing. */
function wordsOf(
  table: TrafficTable,
  options: {
    readonly obstacle?: DirectObstacle | 'none';
    readonly isForwarding?: boolean;
    readonly verdict?: NodeHealth;
    readonly hasLasted?: boolean;
  } = {},
): string | undefined {
  const { obstacle = 'offLink', isForwarding = true, verdict = 'up', hasLasted = true } = options;
  const address = { ip: addressOf('192.0.2.8'), isHostAddress: false, served: [udp(53)], unserved: [] };
  const listeners = PersistentMap.from([[ofAll.key, { ...blankReport, isForwarding }] as const]);
  const directObstacles: DirectObstacles = new Map(obstacle === 'none' ? [] : [[nodeName('n3'), { 4: obstacle }]]);
  const health = new Map([[nodeName('n3'), { 4: verdict }]]);
  return unreachedNodes({ addresses: [address] }, table, { listeners, directObstacles, health }, () => hasLasted)[4];
}

const both = localTable([[ofOwn, { n1: 1, n3: 2 }]], [n1, n3]);
const otherMtu = { least: 1_400, most: 1_400, lan: 1_500 };
const offLink = 'n3 has no address in a LAN of the load-balancer host';

test('names a node with endpoints that direct cannot reach for good, and why', () => {
  expect(wordsOf(both)).toBe(offLink);
  const unasked = localTable(
    [
      [
        { ...ofOwn, needsProof: true },
        { n1: 1, n3: 2 },
      ],
    ],
    [n1, n3],
  );
  expect(wordsOf(unasked)).toBe(offLink);
  expect(wordsOf(unasked, { obstacle: otherMtu })).toMatch(/^the MTU of n3 is 1400, not 1500/);
});

const unproven = localTable(
  [
    [
      { ...ofOwn, needsProof: true },
      { n1: 1, n3: 2 },
    ],
  ],
  [n1, n3],
);
const closed = 'kube-proxy on n3 does not answer on port 10256: open the port to the load-balancer host';

test.each<[what: string, table: TrafficTable, options: Parameters<typeof wordsOf>[1], words: string]>([
  ['whose port is closed', both, { obstacle: 'noAnswer', verdict: 'unhealthy' }, closed],
  ['whose port a firewall hides', both, { obstacle: 'none', verdict: 'silent' }, closed],
  [
    'that is not shown to answer clients',
    unproven,
    { obstacle: 'unheard' },
    'n3 has not been shown to send packets with the address as source: the LAN may refuse them',
  ],
])('names a node %s when that has lasted', (_, table, options, words) => {
  expect(wordsOf(table, options)).toBe(words);
  expect(wordsOf(table, { ...options, hasLasted: false })).toBeUndefined();
});

test.each<[what: string, table: TrafficTable, options: Parameters<typeof wordsOf>[1]]>([
  ['that all nodes serve', tableOf([ofAll], [n1, n3]), {}],
  [
    'that another dataplane serves',
    localTable(
      [
        [
          { ...ofOwn, dataplane: 'haproxy' },
          { n1: 1, n3: 2 },
        ],
      ],
      [n1, n3],
    ),
    {},
  ],
  ['whose endpoints there terminate', localTable([[ofOwn, { n1: 1, n3: { terminating: 2 } }]], [n1, n3]), {}],
  ['with endpoints on other nodes', localTable([[ofOwn, { n1: 1 }]], [n1, n3]), {}],
  ['that requests direct, whose node has another MTU: it is used', both, { obstacle: otherMtu }],
  ['that requests direct, whose node answers through this host: it is used', both, { obstacle: 'crossing' }],
  ['that requests direct, whose node is not shown to answer clients: it is used', both, { obstacle: 'unheard' }],
  ['whose kube-proxy restarts: the node keeps its packets', both, { obstacle: 'noAnswer' }],
  ['whose node reports that it is unhealthy', both, { obstacle: 'none', verdict: 'unhealthy' }],
  ['that no node gets: its packets have another trouble', both, { isForwarding: false }],
  ['whose node is drained', localTable([[ofOwn, { n1: 1, n3: 2 }]], [n1, { ...n3, state: 'drain' }]), {}],
])('names none of a listener %s', (_, table, options) => {
  expect(wordsOf(table, options)).toBeUndefined();
});

test('the condition stays true, and says it once for both families', () => {
  const service = makeService('a', { externalTrafficPolicy: 'Local', ipFamilies: [4, 6], dataplane: 'direct' });
  const status = statusOf([service], { unreached: { 4: offLink, 6: offLink } });
  expect(conditions(status)).toMatchObject({ Serving: 'True NodesNotReached' });
  const message = status?.conditions.find(({ type }) => type === 'furiwake.dev/Serving')?.message;
  expect(message).toBe(`direct sends no new flows to some nodes with ready endpoints: ${offLink}`);
});
