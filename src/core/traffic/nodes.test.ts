import { expect, test } from 'vitest';
import { makeNode } from '../../../test/make/service.ts';
import type { NodeName } from '../model/names.ts';
import type { Node } from '../model/node.ts';
import { makeNodesPlanner } from './nodes.ts';

const none: ReadonlySet<NodeName> = new Set();

const addressesOf = (...nodes: readonly Node[]): Readonly<Record<string, readonly string[]>> => {
  const byName = (each: readonly Node[]): ReadonlyMap<NodeName, Node> => new Map(each.map((node) => [node.name, node]));
  const orders = [nodes, nodes.toReversed()].map((each) => makeNodesPlanner()(byName(each), none));
  const texts = orders.map(({ nodes: planned }) =>
    Object.fromEntries(
      Array.from(planned.values(), ({ name, addresses }) => [name, addresses.map(({ text }) => text)]),
    ),
  );
  expect(texts[1]).toEqual(texts[0]);
  return texts[0] ?? {};
};

const both = ['192.0.2.11', '2001:db8::11'];
const [former, renamed] = [makeNode('n1', ...both), { ...makeNode('new', ...both), createdAtMs: 1000 }];

test('after a node got another name, the new one has its addresses when it is Ready', () => {
  expect(addressesOf(former, { ...renamed, isReady: false })).toEqual({ n1: both });
  expect(addressesOf(former, renamed)).toEqual({ new: both });
  expect(addressesOf({ ...former, isReady: false }, renamed)).toEqual({ new: both });
});

test('an address that was given to an older node is that of the one that is Ready', () => {
  const [off, on] = [
    { ...renamed, isReady: false },
    { ...makeNode('n2', '192.0.2.11'), createdAtMs: 1 },
  ];
  expect(addressesOf(off, on)).toEqual({ n2: ['192.0.2.11'], new: ['2001:db8::11'] });
});

test('a Node that is being deleted has the address only if no other one has it', () => {
  const deleted = { ...renamed, excluded: 'deleted' as const };
  expect(addressesOf(former, deleted)).toEqual({ n1: both });
  expect(addressesOf(deleted)).toEqual({});
});

test('an excluded node does not get connections under its former name', () => {
  expect(addressesOf(former, { ...renamed, excluded: 'label' })).toEqual({});
});

test('equal Nodes are decided by name', () => {
  expect(addressesOf(makeNode('b', ...both), makeNode('a', ...both))).toEqual({ a: both });
});

test('excluded nodes are listed with their addresses, the same list while they are the same', () => {
  const plan = makeNodesPlanner();
  const excludedIn = (...nodes: readonly Node[]): ReturnType<typeof plan>['excludedNodes'] =>
    plan(new Map(nodes.map((node) => [node.name, node])), none).excludedNodes;
  const [first, second] = [makeNode('n1', '192.0.2.11'), { ...makeNode('n2', ...both), excluded: 'label' as const }];
  const found = excludedIn(first, second);
  expect(found).toEqual([{ addresses: second.addresses, podCidrs: [] }]);
  expect(excludedIn(second, { ...first, bootId: 'another' })).toBe(found);
  expect(excludedIn(first, { ...second, excluded: undefined })).toEqual([]);
});
