import { expect, test } from 'vitest';
import { addressOf, node } from '../../../test/make/table.ts';
import { formatRange, parseRange } from '../../core/ip/range.ts';
import type { TrafficNode } from '../../core/traffic/table.ts';
import { makeImpossibleSources } from './impossible-sources.ts';

const withPods = (of: TrafficNode, ...podCidrs: readonly string[]): TrafficNode => ({
  ...of,
  podCidrs: podCidrs.flatMap((text) => parseRange(text) ?? []),
});
const nodesOf = (...nodes: readonly TrafficNode[]): ReadonlyMap<TrafficNode['name'], TrafficNode> =>
  new Map(nodes.map((each) => [each.name, each]));
const none = new Map();

test('the addresses of nodes and Pods are, each range once and without those within others', () => {
  const nodes = nodesOf(
    withPods(node('n1', '192.0.2.11', '2001:db8::11'), '10.244.0.0/24', 'fd44::/64'),
    withPods(node('n2', '192.0.2.12'), '10.244.1.0/24', '10.244.0.0/24', '10.244.1.128/25'),
  );
  expect(makeImpossibleSources()(nodes, none).map(formatRange)).toEqual([
    '10.244.0.0-10.244.0.255',
    '10.244.1.0-10.244.1.255',
    '192.0.2.11',
    '192.0.2.12',
    '2001:db8::11',
    'fd44::-fd44::ffff:ffff:ffff:ffff',
  ]);
});

test('a Pod CIDR that holds an address of a node or of this host is excluded', () => {
  const nodes = nodesOf(withPods(node('n1', '10.0.0.11'), '10.0.0.0/16', '172.16.0.0/16', '10.244.0.0/24'));
  const own = new Map([['172.16.0.2', addressOf('172.16.0.2')]]);
  const found = makeImpossibleSources();
  expect(found(nodes, own).map(formatRange)).toEqual(['10.0.0.11', '10.244.0.0-10.244.0.255']);
  expect(found(nodes, own)).toBe(found(nodes, own));
});
