import { describe, expect, test } from 'vitest';
import { type Listening, mirrorOf, ours, tableOf } from '../../../test/netns/classifier-rig.ts';
import { addressesOf } from '../../../test/netns/rows.ts';
import { parseIp } from '../../core/ip/ip.ts';
import * as core from '../../core/traffic/table.ts';
import { emptyTable, type Row, type TrafficTable } from '../../core/traffic/table.ts';
import { elementKey, RowError } from './elements.ts';
import { allElements, type Change, diffMirrors, type Mirror } from './mirror.ts';

const keys = (listeners: readonly Listening[], added?: typeof ours): readonly string[] =>
  allElements(mirrorOf(tableOf(listeners), added)).map(elementKey);

/** What leads from one table to another. */
function between(before: readonly Listening[], after: readonly Listening[]): Change {
  return diffMirrors(mirrorOf(tableOf(before), ours), mirrorOf(tableOf(after), ours));
}

describe('the elements of a row', () => {
  test.each<[string, Listening, readonly string[]]>([
    ['that is open', ['192.0.2.1', 80], ['listeners4 192.0.2.1 . 80 : 10000']],
    ['of IPv6', ['2001:db8::1', 80], ['listeners6 2001:db8::1 . 80 : 10000']],
    [
      'with source ranges',
      ['192.0.2.1', 80, ['10.0.0.0/8', '1.1.1.1']],
      [
        'listeners4 192.0.2.1 . 80 : 10000',
        'restricted4 192.0.2.1 . 80',
        'allowed4 192.0.2.1 . 80 . 10.0.0.0-10.255.255.255',
        'allowed4 192.0.2.1 . 80 . 1.1.1.1',
      ],
    ],
    [
      'that nobody may reach',
      ['2001:db8::1', 80, []],
      ['listeners6 2001:db8::1 . 80 : 10000', 'restricted6 2001:db8::1 . 80'],
    ],
  ])('%s', (_, listening, elements) => {
    expect(keys([listening])).toEqual(elements);
  });
});

describe('where the host itself may come from', () => {
  const own = addressesOf('10.1.2.3', '2001:db8::3');
  const sources = (ranges: readonly string[], vip = '192.0.2.1', of: Mirror['own'] = own): readonly string[] =>
    allElements(mirrorOf(tableOf([[vip, 80, ranges]]), undefined, undefined, of)).flatMap(({ set, text }) =>
      set.startsWith('allowed') ? (text.split(' . ')[2] ?? '') : [],
    );

  test.each<[string, readonly string[], string, readonly string[]]>([
    [
      'an own address in the ranges lets the address of the Service in',
      ['10.0.0.0/8'],
      '192.0.2.1',
      ['10.0.0.0-10.255.255.255', '192.0.2.1'],
    ],
    ['so of IPv6', ['2001:db8::3'], '2001:db8::1', ['2001:db8::3', '2001:db8::1']],
    ['no own address in the ranges, and it is kept out', ['10.2.0.0'], '192.0.2.1', ['10.2.0.0']],
    ['an address in the ranges anyway is not there twice', ['10.0.0.0/8'], '10.9.9.9', ['10.0.0.0-10.255.255.255']],
    ['nobody is nobody', [], '192.0.2.1', []],
  ])('%s', (_, ranges, vip, expected) => {
    expect(sources(ranges, vip)).toEqual(expected);
  });

  test('follows the own addresses, of restricted rows only', () => {
    const table = tableOf([
      ['192.0.2.1', 80, ['10.0.0.0/8']],
      ['192.0.2.1', 81],
    ]);
    const element = { set: 'allowed4', text: '192.0.2.1 . 80 . 192.0.2.1' };
    const [none, some] = [mirrorOf(table), mirrorOf(table, undefined, undefined, own)];
    expect(diffMirrors(none, some)).toEqual({ remove: [], add: [element] });
    expect(diffMirrors(some, none)).toEqual({ remove: [element], add: [] });
  });
});

test('the addresses that are ours are elements by family', () => {
  expect(keys([], ours).toSorted()).toEqual(['vips4 10.50.0.1', 'vips4 10.50.0.2', 'vips6 fd50::1']);
});

describe('a difference', () => {
  test('between tables with the same rows in another order is nothing', () => {
    const one: Listening = ['192.0.2.1', 80];
    const other: Listening = ['192.0.2.1', 81, ['10.0.0.0/8']];
    expect(between([one, other], [other, one])).toEqual({ remove: [], add: [] });
  });

  test('of a range touches only that range', () => {
    const with_ = (range: string): readonly Listening[] => [['192.0.2.1', 80, ['10.0.0.0/8', range]]];
    expect(between(with_('1.1.1.1'), with_('2.2.2.2'))).toEqual({
      remove: [{ set: 'allowed4', text: '192.0.2.1 . 80 . 1.1.1.1' }],
      add: [{ set: 'allowed4', text: '192.0.2.1 . 80 . 2.2.2.2' }],
    });
  });

  test('of the port of HAProxy replaces the listener', () => {
    const listeners: readonly Listening[] = [['192.0.2.1', 80]];
    const [before, after] = [tableOf(listeners), tableOf(listeners)]; // another row, for it goes to another port
    expect(diffMirrors(mirrorOf(before, ours, 1), mirrorOf(after, ours, 2))).toEqual({
      remove: [{ set: 'listeners4', text: '192.0.2.1 . 80 : 1' }],
      add: [{ set: 'listeners4', text: '192.0.2.1 . 80 : 2' }],
    });
  });
});

describe('is refused by name:', () => {
  const row = [...tableOf([['192.0.2.1', 80]]).rows.values()][0];
  const withRow = (change: Partial<Row>): TrafficTable =>
    row === undefined ? emptyTable : core.tableOf([{ ...row, ...change }], emptyTable.nodes);
  const address = parseIp('192.0.2.1');

  test.each<[string, Partial<Row>, string]>([
    ['a UDP row', { protocol: 'UDP' }, 'UDP'],
    ['an SCTP row', { protocol: 'SCTP' }, 'SCTP'],
    ['a port that is none', { port: 0 }, '0 is no port'],
    ['a port that is no integer', { port: 80.5 }, '80.5 is no port'],
    [
      'an address with a text that is not its own',
      address === undefined ? {} : { address: { ...address, text: '192.0.2.1 }; flush ruleset' } },
      'is no address',
    ],
    ['a range of the other family', { sourceRanges: [{ family: 6, first: 0n, last: 1n }] }, 'IPv6'],
  ])('%s', (_, change, message) => {
    const render = (): unknown => allElements(mirrorOf(withRow(change)));
    expect(render).toThrow(RowError);
    expect(render).toThrow(message);
  });
});
