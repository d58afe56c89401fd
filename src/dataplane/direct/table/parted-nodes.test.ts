import { expect, test } from 'vitest';
import { node } from '../../../../test/make/table.ts';
import type { TrafficNode } from '../../../core/traffic/table.ts';
import { makePartedNodes } from './parted-nodes.ts';

const [n1, n2, n3] = ['1', '2', '3'].map((number) => node(`n${number}`, `192.0.2.1${number}`)) as [
  TrafficNode,
  TrafficNode,
  TrafficNode,
];
const tableOf = (nodes: readonly TrafficNode[], excludedNodes: readonly TrafficNode[] = []) => ({
  nodes: new Map(nodes.map((each) => [each.name, each])),
  excludedNodes,
});

test('a node that becomes excluded drains until its Node is gone, or it returns', () => {
  const nodesOf = makePartedNodes();
  const states = (...args: Parameters<typeof tableOf>): readonly string[] =>
    Array.from(nodesOf(tableOf(...args)).values(), ({ name, state }) => `${name} ${state}`);
  expect(states([n1, n2], [n3])).toEqual(['n1 active', 'n2 active']); // n3 was never one of them
  expect(states([n1], [n2, n3])).toEqual(['n1 active', 'n2 drain']);
  expect(states([n1], [n2])).toEqual(['n1 active', 'n2 drain']);
  expect(states([n1, n2])).toEqual(['n1 active', 'n2 active']);
  expect(states([n1], [n2])).toEqual(['n1 active', 'n2 drain']);
  expect(states([n1])).toEqual(['n1 active']);
  expect(states([n1], [n2])).toEqual(['n1 active']);
});

test('the same nodes give the same object, and others another one', () => {
  const nodesOf = makePartedNodes();
  const table = tableOf([n1], [n2]);
  const first = nodesOf(table);
  expect(nodesOf({ ...table })).toBe(first);
  expect(nodesOf({ ...table, excludedNodes: [n3] })).not.toBe(first);
});
