import { expect, test } from 'vitest';
import { addressOf, directListener, natListener, node, nodeName, tableOf } from '../../../test/make/table.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { hostBackend } from '../../core/traffic/host-pods.ts';
import { makeHosted } from './hosted.ts';

const backend = hostBackend(directListener('203.0.113.1', 53))!;
const listenerAt = (vip: string): ReturnType<typeof natListener> => natListener(vip, 53, 5353, { backend });
const [one, two] = [listenerAt('203.0.113.1'), listenerAt('203.0.113.2')];
const podAt = (address: string, name: string): object => {
  return { address: addressOf(address), port: 5353, node: nodeName(name), isDraining: false };
};
const both = [podAt('10.244.1.7', 'n1'), podAt('10.244.2.7', 'n2')];
const pods = PersistentMap.from([[backend, { family: 4, pods: both } as never]]);
const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
const table = { ...tableOf([one, two], nodes), pods };
const withNodes = (...names: readonly string[]): typeof table => {
  const entries = nodes.map(
    (each) => [each.name, names.includes(each.name) ? { ...each, state: 'drain' } : each] as const,
  );
  return { ...table, nodes: new Map(entries) as typeof table.nodes };
};

/** What the host gets for `one`, and the Pods that may keep flows. `silent`, `lost`: nodes. */
function start(): (given: typeof table, silent?: readonly string[], lost?: readonly string[]) => readonly unknown[] {
  const hosted = makeHosted();
  const none = new Map();
  return (given, silent = [], lost = []) => {
    const verdicts = silent.length === 0 ? none : new Map();
    const keeps = (name: string): boolean => !silent.includes(name);
    const found = hosted({ table: given, verdicts, keeps, loses: (name) => lost.includes(name) });
    const texts = (ips: readonly { readonly text: string }[] = []): string => ips.map(({ text }) => text).join(' ');
    return [texts(found.pods.get(one.key)), texts(found.members.get(backend))];
  };
}

const all = '10.244.1.7 10.244.2.7';

test('Pods of nodes that drain get no new connection and keep their flows, unless all nodes drain', () => {
  const find = start();
  expect(find(table)).toEqual([all, all]);
  expect(find(withNodes('n1'))).toEqual(['10.244.2.7', all]);
  expect(find(withNodes('n1', 'n2'))).toEqual([all, all]);
});

test('those of silent nodes keep their flows until the node is lost', () => {
  const find = start();
  find(table);
  expect(find(table, ['n1'])).toEqual(['10.244.2.7', all]);
  const hosted = makeHosted();
  const verdicts = new Map();
  const lostAre = (...lost: readonly string[]): unknown =>
    hosted({ table, verdicts, keeps: () => true, loses: (name) => lost.includes(name) }).members.get(backend)?.length;
  expect([lostAre(), lostAre('n1'), lostAre()]).toEqual([2, 1, 2]);
});

test('a listener that leaves takes nothing from another one with the same Pods', () => {
  const find = start();
  find({ ...table, listeners: tableOf([one, two]).listeners });
  const rest = { ...table, listeners: table.listeners.with([[two.key, undefined]]) };
  expect(find(rest)).toEqual([all, all]);
  expect(find({ ...rest, listeners: PersistentMap.empty() })).toEqual(['', '']);
});
