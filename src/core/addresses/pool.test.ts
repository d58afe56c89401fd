import { describe, expect, test } from 'vitest';
import {
  byKey,
  ip,
  makeHostFacts,
  makeNode,
  makeService,
  makeSite,
  poolOf,
  ranges,
} from '../../../test/make/service.ts';
import { formatRange, type IpRange, rangeContains } from '../ip/range.ts';
import type { HostFacts } from '../model/host.ts';
import type { Node } from '../model/node.ts';
import type { Site } from '../model/site.ts';
import { PersistentMap } from '../persistent-map.ts';
import { makeAddressPlanner } from './plan.ts';
import { makePools, type Pool } from './pool.ts';

const nodeWithPods = (name: string, ...podCidrs: readonly string[]): Node => ({
  ...makeNode(name, '198.51.100.11'),
  podCidrs: ranges(...podCidrs),
});
const shown = ({ ranges: usable, excluded }: Pool): unknown => [usable.map(formatRange), [...excluded]];

describe('the pool', () => {
  const site = makeSite(['192.0.2.0/28', '2001:db8::/112']);
  const host = makeHostFacts({ needs: new Map([['192.0.2.1', 'default gateway of this host']]) });
  test.each<[string, Site, HostFacts, readonly Node[], unknown]>([
    [
      'is what the administrator gave',
      site,
      makeHostFacts(),
      [makeNode('n1', '198.51.100.11')],
      [['192.0.2.0-192.0.2.15', '2001:db8::-2001:db8::ffff'], []],
    ],
    [
      'is without what the host and the nodes need',
      site,
      host,
      [makeNode('n1', '192.0.2.3', '2001:db8::3')],
      [
        ['192.0.2.0', '192.0.2.2', '192.0.2.4-192.0.2.15', '2001:db8::-2001:db8::2', '2001:db8::4-2001:db8::ffff'],
        [
          ['192.0.2.1', 'default gateway of this host'],
          ['192.0.2.3', 'address of node n1'],
          ['2001:db8::3', 'address of node n1'],
        ],
      ],
    ],
    [
      'is without addresses that a node has beside the one that gets its connections',
      site,
      makeHostFacts(),
      [{ ...makeNode('n1', '192.0.2.3'), allAddresses: [ip('192.0.2.3'), ip('192.0.2.5')] }],
      [
        ['192.0.2.0-192.0.2.2', '192.0.2.4', '192.0.2.6-192.0.2.15', '2001:db8::-2001:db8::ffff'],
        [
          ['192.0.2.3', 'address of node n1'],
          ['192.0.2.5', 'address of node n1'],
        ],
      ],
    ],
    [
      'is without the Pod CIDRs of the nodes',
      site,
      makeHostFacts(),
      [nodeWithPods('n1', '192.0.2.8/29', '2001:db8::/120'), nodeWithPods('n2', '10.244.1.0/24')],
      [
        ['192.0.2.0-192.0.2.7', '2001:db8::100-2001:db8::ffff'],
        [
          ['192.0.2.8-192.0.2.15', 'Pod CIDR of node n1'],
          ['2001:db8::-2001:db8::ff', 'Pod CIDR of node n1'],
        ],
      ],
    ],
    [
      'of own addresses has them also in a Pod CIDR: no Pod can have one',
      makeSite([], { handsOutOwn: true }),
      makeHostFacts({ primaryAddresses: [ip('192.0.2.9')] }),
      [nodeWithPods('n1', '192.0.2.8/29')],
      [['192.0.2.9'], []],
    ],
  ])('%s', (_, given, facts, nodes, expected) => {
    expect(shown(poolOf(given, facts, nodes))).toEqual(expected);
  });

  test('is the same object while its content is the same, and follows nodes that join', () => {
    const poolFor = makePools();
    const pools = [
      [nodeWithPods('n1', '10.244.1.0/24')],
      [nodeWithPods('n1', '10.244.1.0/24'), nodeWithPods('n2', '10.244.2.0/24')],
      [nodeWithPods('n1', '10.244.1.0/24'), nodeWithPods('n2', '192.0.2.8/29')],
    ].map((nodes) => poolFor({ site, host, nodes: new Map(nodes.map((node) => [node.name, node])) }));
    expect(pools[1]).toBe(pools[0]);
    expect(pools[2]?.excluded.get('192.0.2.8-192.0.2.15')).toBe('Pod CIDR of node n2');
  });

  test('counts an address of a Service of another implementation as one of Services, and not that of a node', () => {
    const usedByOthers = new Map([['192.0.2.3', 'address of a Service of another load balancer']]);
    const node = makeNode('n1', '192.0.2.4');
    const { ranges: usable, ofServices } = makePools()({
      site,
      host,
      nodes: new Map([[node.name, node]]),
      usedByOthers,
    });
    const has = (among: readonly IpRange[], text: string): boolean =>
      among.some((range) => rangeContains(range, ip(text)));
    expect(['192.0.2.2', '192.0.2.3', '192.0.2.4'].map((text) => [has(usable, text), has(ofServices, text)])).toEqual([
      [true, true],
      [false, true],
      [false, false],
    ]);
  });
});

test('a Service keeps its address in the Pod CIDR of a node that joins later; no other gets one from there', () => {
  const plan = makeAddressPlanner();
  const site = makeSite(['192.0.2.8-192.0.2.20']);
  const before = { site, host: makeHostFacts(), pool: poolOf(site) };
  const old = makeService('old');
  const { records } = plan({ ...before, records: PersistentMap.empty(), services: byKey([old]) });
  const { assignments } = plan({
    ...before,
    records,
    pool: poolOf(site, before.host, [nodeWithPods('n1', '192.0.2.8/29')]),
    services: byKey([old, makeService('new')]),
  });
  const given = [...assignments.values()].map(({ addresses }) => addresses.map((each) => each.ip.text).join());
  expect(given.toSorted()).toEqual(['192.0.2.16', '192.0.2.8']);
});
