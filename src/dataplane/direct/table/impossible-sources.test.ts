import { expect, test } from 'vitest';
import { addressOf, node } from '../../../../test/make/table.ts';
import { formatRange, type IpRange, parseRange } from '../../../core/ip/range.ts';
import type { TrafficNode } from '../../../core/traffic/table.ts';
import { makeImpossibleSources } from './impossible-sources.ts';

const withPods = (of: TrafficNode, ...podCidrs: readonly string[]): TrafficNode => ({
  ...of,
  podCidrs: ranges(...podCidrs),
});
const nodesOf = (...nodes: readonly TrafficNode[]): ReadonlyMap<TrafficNode['name'], TrafficNode> =>
  new Map(nodes.map((each) => [each.name, each]));
const none = new Map();
const ranges = (...texts: readonly string[]): readonly IpRange[] => texts.flatMap((text) => parseRange(text) ?? []);

test('the addresses of nodes and Pods are, each range once and without those within others', () => {
  const nodes = nodesOf(
    withPods(node('n1', '192.0.2.11', '2001:db8::11'), '10.244.0.0/24', 'fd44::/64'),
    withPods(node('n2', '192.0.2.12'), '10.244.1.0/24', '10.244.0.0/24', '10.244.1.128/25'),
  );
  expect(makeImpossibleSources()({ nodes, excludedNodes: [], own: none, serviceCidrs: [] }).map(formatRange)).toEqual([
    '10.244.0.0-10.244.0.255',
    '10.244.1.0-10.244.1.255',
    '192.0.2.11',
    '192.0.2.12',
    '2001:db8::11',
    'fd44::-fd44::ffff:ffff:ffff:ffff',
  ]);
});

test('a Pod or Service CIDR that holds an address of a node or of this host is excluded', () => {
  const nodes = nodesOf(withPods(node('n1', '10.0.0.11'), '10.0.0.0/16', '172.16.0.0/16', '10.244.0.0/24'));
  const own = new Map([['172.16.0.2', addressOf('172.16.0.2')]]);
  const found = makeImpossibleSources();
  const facts = { nodes, excludedNodes: [], own, serviceCidrs: ranges('172.16.0.0/12', '10.96.0.0/16') };
  expect(found(facts).map(formatRange)).toEqual(['10.0.0.11', '10.96.0.0-10.96.255.255', '10.244.0.0-10.244.0.255']);
  expect(found({ ...facts })).toBe(found(facts));
  expect(found({ ...facts, serviceCidrs: [] }).map(formatRange)).toEqual(['10.0.0.11', '10.244.0.0-10.244.0.255']);
});

test('the addresses of excluded nodes and of their Pods are, too', () => {
  const excluded = withPods(node('n2', '192.0.2.12'), '10.244.1.0/24', '192.0.2.0/24');
  const facts = { nodes: nodesOf(node('n1', '192.0.2.11')), excludedNodes: [excluded], own: none, serviceCidrs: [] };
  expect(makeImpossibleSources()(facts).map(formatRange)).toEqual([
    '10.244.1.0-10.244.1.255',
    '192.0.2.11',
    '192.0.2.12',
  ]);
});
