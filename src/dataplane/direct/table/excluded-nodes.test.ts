import { expect, test } from 'vitest';
import { node } from '../../../../test/make/table.ts';
import { virtualClock } from '../../../../test/sim/virtual-clock.ts';
import type { TrafficNode } from '../../../core/traffic/table.ts';
import { makeExcludedNodes, type ExcludedNodesDeps } from './excluded-nodes.ts';

const [n1, n2, n3] = ['1', '2', '3'].map((number) => node(`n${number}`, `192.0.2.1${number}`)) as [
  TrafficNode,
  TrafficNode,
  TrafficNode,
];
const tableOf = (nodes: readonly TrafficNode[], excludedNodes: readonly TrafficNode[] = []) => ({
  nodes: new Map(nodes.map((each) => [each.name, each])),
  excludedNodes,
});

/** `silent`: the addresses of machines that do not answer. */
function makeRig() {
  const [clock, silent, asked] = [virtualClock(), new Set<string>(), [] as string[]];
  const probe: ExcludedNodesDeps['probe'] = async (targets) => {
    asked.push(...targets.keys());
    return new Map(Array.from(targets, ([hop, { text }]) => [hop, silent.has(text) ? 'silent' : 'ok']));
  };
  const excluded = makeExcludedNodes({ probe, silenceMs: 15_000, clock }, (name) => name === n3.name);
  const look = async (): Promise<boolean> => {
    await clock.advance(30_000);
    await excluded.look(new AbortController().signal);
    return excluded.isLost(n2.name, 4);
  };
  return { excluded, look, silent, asked };
}

test('a node that becomes excluded drains until its Node is gone, or it returns', () => {
  const { excluded } = makeRig();
  const states = (...args: Parameters<typeof tableOf>): readonly string[] =>
    Array.from(excluded.join(tableOf(...args)).values(), ({ name, state }) => `${name} ${state}`);
  expect(states([n1, n2], [n3])).toEqual(['n1 active', 'n2 active']); // n3 was never one of them
  expect(states([n1], [n2, n3])).toEqual(['n1 active', 'n2 drain']);
  expect(states([n1], [n2])).toEqual(['n1 active', 'n2 drain']);
  expect(states([n1, n2])).toEqual(['n1 active', 'n2 active']);
  expect(states([n1], [n2])).toEqual(['n1 active', 'n2 drain']);
  expect(states([n1])).toEqual(['n1 active']);
  expect(states([n1], [n2])).toEqual(['n1 active']);
});

test('a node drains while another Node has its address', () => {
  const { excluded } = makeRig();
  const renamed = node('n9', '192.0.2.12');
  const states = (nodes: readonly TrafficNode[]): readonly string[] =>
    Array.from(excluded.join(tableOf(nodes)).values(), ({ name, state }) => `${name} ${state}`);
  expect(states([n1, n2])).toEqual(['n1 active', 'n2 active']);
  expect(states([n1, renamed])).toEqual(['n1 active', 'n9 active', 'n2 drain']);
  expect(states([n1, n2])).toEqual(['n1 active', 'n2 active', 'n9 drain']);
  expect(states([n1])).toEqual(['n1 active']);
});

test('the same nodes give the same object, and others another one', () => {
  const { excluded } = makeRig();
  const table = tableOf([n1], [n2]);
  const first = excluded.join(table);
  expect(excluded.join({ ...table })).toBe(first);
  expect(excluded.join({ ...table, excludedNodes: [n3] })).not.toBe(first);
});

test('an excluded node that is silent at two looks in a row is lost until it answers, or returns', async () => {
  const { excluded, look, silent, asked } = makeRig();
  excluded.join(tableOf([n1, n2]));
  silent.add('192.0.2.11').add('192.0.2.12');
  expect([await look(), await look(), asked]).toEqual([false, false, []]);
  excluded.join(tableOf([n1], [n2]));
  expect([await look(), await look(), await look()]).toEqual([false, true, true]);
  expect(new Set(asked)).toEqual(new Set(['n2 4']));
  silent.clear();
  expect(await look()).toBe(false);
  silent.add('192.0.2.12');
  expect([await look(), await look()]).toEqual([false, true]);
  excluded.join(tableOf([n1, n2]));
  expect(excluded.isLost(n2.name, 4)).toBe(false);
  expect(await look()).toBe(false);
  expect(excluded.isLost(n3.name, 4)).toBe(false);
  excluded.join(tableOf([n1, n2, n3]));
  expect(excluded.isLost(n3.name, 4)).toBe(true); // as health says
});
