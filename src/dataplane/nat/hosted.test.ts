import { expect, test } from 'vitest';
import { makeNatMachine, type NatMachine } from '../../../test/make/nat-machine.ts';
import { addressOf, directListener, natListener, node, nodeName, tableOf } from '../../../test/make/table.ts';
import { serviceKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { hostBackend } from '../../core/traffic/host-pods.ts';
import type { Listener, TrafficTable } from '../../core/traffic/table.ts';
import { natLayout } from './layout.ts';

const { signal } = new AbortController();
const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
const bare = directListener('203.0.113.1', 53);

/** A table with these Pods of `bare`: `10.244.1.7`, with `:` and a port, or with ` n1` or ` draining`. */
function tableWith(pods: readonly string[] | undefined, ...others: readonly Listener[]): TrafficTable {
  const podOf = (text: string): object => {
    const [, address = '', port = '5353', rest = ''] = /^([\d.]+)(?::(\d+))?(?: (.*))?$/.exec(text) ?? [];
    const isDraining = rest === 'draining';
    const where = isDraining || rest === '' ? undefined : nodeName(rest);
    return { address: addressOf(address), port: Number(port), node: where, isDraining };
  };
  const backend = { family: 4, pods: pods?.map(podOf) ?? [] };
  const entries = pods === undefined ? [] : [[hostBackend(bare), backend] as never];
  return { ...tableOf([bare, ...others], nodes), pods: PersistentMap.from(entries) };
}

const elements = ({ nft }: NatMachine): readonly string[] =>
  [...(nft.elements() ?? [])].filter((key) => !key.startsWith('generation')).toSorted();
const pods = (machine: NatMachine): readonly string[] =>
  elements(machine).flatMap((key) => /^(?:hosted|pods)4 .* : (.+)$/.exec(key)?.[1] ?? []);

test('without a port that only direct serves, or without its Pods, there is no table, and no rule for them', async () => {
  const machine = makeNatMachine();
  expect(await machine.nat.apply(tableWith(undefined), signal)).toEqual(new Map());
  expect(await machine.nat.apply(tableWith([]), signal)).toEqual(new Map());
  expect(machine.nft.elements()).toBeUndefined();
  await machine.nat.apply(tableWith([], natListener('203.0.113.2', 53, 30_053)), signal);
  expect(machine.nft.accepted.join()).not.toContain('chain own');
});

test('a listener has its Pods in elements; a Pod that comes or goes changes only these, in one transaction', async () => {
  const machine = makeNatMachine();
  const { nat, nft, switches } = machine;
  const first = tableWith(['10.244.1.7', '10.244.2.7']);
  expect(await nat.apply(first, signal)).toEqual(new Map());
  expect(elements(machine)).toEqual([
    'answers4 203.0.113.1 . udp . 53 . 5353',
    'hosted4 203.0.113.1 . udp . 53 : jump pods4of2',
    'pods4 203.0.113.1 . udp . 53 . 0 : 10.244.1.7',
    'pods4 203.0.113.1 . udp . 53 . 1 : 10.244.2.7',
    'ports4 203.0.113.1 . udp . 53 : 5353',
    'requests4 203.0.113.1 . udp . 53 . 5353',
  ]);
  const before = nft.accepted.length;
  await nat.apply({ ...first, pods: tableWith(['10.244.1.7', '10.244.2.7', '10.244.3.7']).pods }, signal);
  expect(pods(machine)).toEqual(['jump pods4of3', '10.244.1.7', '10.244.2.7', '10.244.3.7']);
  await nat.apply(tableWith(['10.244.2.7']), signal);
  expect(pods(machine)).toEqual(['jump pods4of1', '10.244.2.7']);
  const changes = nft.accepted.slice(before);
  expect(changes).toHaveLength(2);
  expect(changes.join()).not.toContain('chain');
  expect(switches).toEqual([]); // the host forwards none of these packets
  expect(await nat.counters(signal, [bare.key])).toEqual(new Map()); // `direct` counts
  await nat.apply(tableOf([], nodes), signal);
  expect(nft.elements()).toBeUndefined();
});

test('another target port is that of all its elements', async () => {
  const machine = makeNatMachine();
  await machine.nat.apply(tableWith(['10.244.1.7']), signal);
  await machine.nat.apply(tableWith(['10.244.1.7:53']), signal);
  expect(elements(machine)).toEqual([
    'answers4 203.0.113.1 . udp . 53 . 53',
    'hosted4 203.0.113.1 . udp . 53 : jump pods4of1',
    'pods4 203.0.113.1 . udp . 53 . 0 : 10.244.1.7',
    'ports4 203.0.113.1 . udp . 53 : 53',
    'requests4 203.0.113.1 . udp . 53 . 53',
  ]);
});

test('Pods that terminate or are on a silent node take no connection, and the first keep their flows', async () => {
  const machine = makeNatMachine();
  const { nat, sweeps } = machine;
  machine.setHealth('n1', 'silent');
  await nat.apply(tableWith(['10.244.1.7 n1', '10.244.2.7 n2', '10.244.3.7 draining']), signal);
  expect(pods(machine)).toEqual(['jump pods4of1', '10.244.2.7']);
  const members = /^members \w+ (.*)$/m.exec(sweeps.at(-1) ?? '')?.[1];
  expect(members).toBe('0af40107 0af40207 0af40307');
});

test('with affinity the host has one Pod, which stays when others come', async () => {
  const machine = makeNatMachine();
  const affine = (...those: readonly string[]): TrafficTable => {
    const table = tableWith(those);
    return { ...table, listeners: tableOf([directListener('203.0.113.1', 53, { isAffine: true })]).listeners };
  };
  await machine.nat.apply(affine('10.244.1.7', '10.244.2.7', '10.244.3.7'), signal);
  const [jump, chosen] = pods(machine);
  expect([jump, pods(machine).length]).toEqual(['jump pods4of1', 2]);
  const other = ['10.244.1.7', '10.244.2.7'].find((text) => text !== chosen);
  await machine.nat.apply(affine(chosen ?? '', other ?? ''), signal);
  expect(pods(machine)).toEqual(['jump pods4of1', chosen]);
});

test('a listener that nat cannot serve for the host is not refused: direct serves it', async () => {
  const machine = makeNatMachine();
  const { nat, broken } = machine;
  const next = directListener('203.0.113.1', 53, { service: serviceKey('test', 'next') });
  await nat.apply(tableWith(['10.244.1.7']), signal);
  broken.add('conntrack'); // the flows of the former Service cannot be ended
  const table = tableWith(['10.244.1.7']);
  const owned = PersistentMap.from([[hostBackend(next)!, table.pods.get(hostBackend(bare)!)!]]);
  expect(await nat.apply({ ...table, listeners: tableOf([next]).listeners, pods: owned }, signal)).toEqual(new Map());
  expect(pods(machine)).toEqual([]);
  const said = (): readonly string[] => machine.log.lines.map(({ message }) => message);
  expect(said()).toContain('sending connections of this host itself to Pods of direct failed; retrying');
  broken.delete('conntrack');
  await machine.clock.advance(60_000);
  await nat.audit(signal);
  expect(pods(machine)).toEqual(['jump pods4of1', '10.244.1.7']);
  expect(said()).toContain('sending connections of this host itself to Pods of direct works again');
});

test('a listener for the host itself whose Pods are those of no program is none for clients', () => {
  const own = natListener('203.0.113.1', 53, 5353, { backend: hostBackend(bare)!, isAffine: true });
  const sets = natLayout.elementsOf({ ...natLayout.empty, numberOf: () => 1 }, own).map(({ set }) => set);
  expect(sets).toEqual(['requests4', 'answers4']);
});

test('a port of TCP that loses its nodePort is for the host when nat has no connection of it left', async () => {
  const machine = makeNatMachine();
  const { nat } = machine;
  const tcp = directListener('203.0.113.1', 80, { protocol: 'TCP' });
  const backend = {
    family: 4 as const,
    pods: [...tableWith(['10.244.1.7']).pods.values()].flatMap((each) => each.pods),
  };
  const table = { ...tableOf([tcp], nodes), pods: PersistentMap.from([[hostBackend(tcp)!, backend]]) };
  await nat.apply(tableOf([natListener('203.0.113.1', 80, 30_080, { protocol: 'TCP' })], nodes), signal);
  await nat.apply(table, signal);
  expect(pods(machine)).toEqual([]);
  expect(elements(machine)).toContain('requests4 203.0.113.1 . tcp . 80 . 30080');
  await nat.audit(signal);
  expect(pods(machine)).toEqual(['jump pods4of1', '10.244.1.7']);
  expect(elements(machine)).not.toContain('requests4 203.0.113.1 . tcp . 80 . 30080');
});
