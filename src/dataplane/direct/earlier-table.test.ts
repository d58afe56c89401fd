import { expect, test } from 'vitest';
import { directListener, node, nodeName, tableOf } from '../../../test/make/table.ts';
import { serviceKey } from '../../core/model/names.ts';
import type { Listener, TrafficTable } from '../../core/traffic/table.ts';
import { elementKey } from '../nftables/element.ts';
import { allElements, differenceTo, emptyMirror } from '../nftables/mirror.ts';
import { readEarlierTable } from './earlier-table.ts';
import { directLayout } from './table/layout.ts';
import { makeDirectPlanner } from './table/program.ts';

const [web, dns, web6] = [
  directListener('203.0.113.10', 80),
  directListener('203.0.113.10', 53, { protocol: 'UDP' }),
  directListener('2001:db8:f::10', 80),
];
const nodes = ['n1', 'n2', 'n3'].map((name, index) => node(name, `192.0.2.${11 + index}`, `2001:db8::${11 + index}`));

/** What the kernel has of a process that has shown that `isOpen`. */
function elementsOf(table: TrafficTable, isOpen: (listener: Listener, node: string) => boolean): ReadonlySet<string> {
  const target = makeDirectPlanner()({
    table,
    verdicts: new Map([[nodeName('n2'), { 4: 'silent', 6: 'silent' }]]),
    linkOf: () => 'eth0',
    isOwn: () => false,
    isLost: () => false,
    nodeMacs: new Set(),
    impossible: [],
    isOpen,
    openings: {},
  });
  return new Set(
    allElements(directLayout, differenceTo(directLayout, target, emptyMirror(directLayout)).goal).map(elementKey),
  );
}

test('the nodes that were shown to serve a listener are read back, also one that is silent; listeners without a node have none', () => {
  const table = tableOf([web, dns, web6], nodes);
  const elements = elementsOf(table, ({ key }, name) => key === web.key || (key === web6.key && name !== 'n3'));
  const { listeners, open } = readEarlierTable(elements, table);
  expect(new Set(listeners.map(({ key }) => key))).toEqual(new Set([web.key, dns.key, web6.key]));
  expect(new Map(Array.from(open, ([key, names]) => [key, [...names].sort()]))).toEqual(
    new Map([
      [web.key, ['n1', 'n2', 'n3']],
      [web6.key, ['n1', 'n2']],
    ]),
  );
});

test('a listener of another Service, and a node that is not in the cluster any more, are not read back', () => {
  const elements = elementsOf(tableOf([web, dns], nodes), () => true);
  const other = directListener('203.0.113.10', 53, { protocol: 'UDP', service: serviceKey('test', 'other') });
  const { listeners, open } = readEarlierTable(elements, tableOf([web, other], nodes.slice(0, 1)));
  expect(listeners).toEqual([web]);
  expect(open).toEqual(new Map([[web.key, new Set(['n1'])]]));
});

test('a node that has rebooted since is not read back', () => {
  const booted = (bootId: string | undefined): TrafficTable =>
    tableOf(
      [web],
      nodes.map((each) => ({ ...each, bootId: each.name === 'n2' ? bootId : 'first' })),
    );
  const elements = elementsOf(booted('first'), () => true);
  const openOn = (table: TrafficTable): unknown =>
    [...(readEarlierTable(elements, table).open.get(web.key) ?? [])].sort();
  expect(openOn(booted('first'))).toEqual(['n1', 'n2', 'n3']);
  expect(openOn(booted('second'))).toEqual(['n1', 'n3']);
});
