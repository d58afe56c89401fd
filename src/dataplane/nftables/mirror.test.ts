import { describe, expect, test } from 'vitest';
import * as make from '../../../test/make/table.ts';
import { addressesOf } from '../../../test/make/table.ts';
import { type Listening, ours, tableOf, targetOf } from '../../../test/netns/steering-rig.ts';
import { parseIp } from '../../core/ip/ip.ts';
import type { Listener } from '../../core/traffic/table.ts';
import type { SteeringTarget } from '../../ports/steering.ts';
import { elementKey } from './element.ts';
import { allElements, changeOf, differenceTo, type ElementChange, emptyMirror, type Mirror } from './mirror.ts';
import { makeOwnAddressIndex, steeringLayout } from './steering-layout.ts';

/** The kernel with all of a target in force. */
const mirrorOf = (target: SteeringTarget): Mirror<SteeringTarget> =>
  differenceTo(steeringLayout, target, emptyMirror(steeringLayout)).goal;

const keys = (listeners: readonly Listening[], added?: typeof ours): readonly string[] =>
  allElements(steeringLayout, mirrorOf(targetOf(tableOf(listeners), added))).map(elementKey);

const difference = (before: SteeringTarget, after: SteeringTarget): ElementChange => {
  const mirror = mirrorOf(before);
  return changeOf(mirror.lists, differenceTo(steeringLayout, after, mirror).parts);
};

/** The difference between two tables. */
function between(before: readonly Listening[], after: readonly Listening[]): ElementChange {
  return difference(targetOf(tableOf(before), ours), targetOf(tableOf(after), ours));
}

describe('the elements of a listener', () => {
  test.each<[string, Listening, readonly string[]]>([
    ['that is open', ['192.0.2.1', 80], ['listeners4 192.0.2.1 . 80 : 10000']],
    ['of IPv6', ['2001:db8::1', 80], ['listeners6 2001:db8::1 . 80 : 10000']],
    [
      'with source ranges',
      ['192.0.2.1', 80, ['10.0.0.0/8', '1.1.1.1']],
      [
        'listeners4 192.0.2.1 . 80 : 10000',
        'refused4 192.0.2.1 . 80',
        'ranges4 192.0.2.1 . 80 : 0:1',
        'sources4 0:1 . 10.0.0.0-10.255.255.255',
        'sources4 0:1 . 1.1.1.1',
      ],
    ],
    [
      'that no client may reach',
      ['2001:db8::1', 80, []],
      ['listeners6 2001:db8::1 . 80 : 10000', 'refused6 2001:db8::1 . 80', 'ranges6 2001:db8::1 . 80 : 0:1'],
    ],
  ])('%s', (_, listening, elements) => {
    expect(keys([listening])).toEqual(elements);
  });
});

describe('for connections from the host itself', () => {
  const own = addressesOf('10.1.2.3', '2001:db8::3');
  const sources = (ranges: readonly string[], vip: string): readonly string[] =>
    allElements(steeringLayout, mirrorOf(targetOf(tableOf([[vip, 80, ranges]]), undefined, undefined, own))).flatMap(
      ({ set, text }) => (set.startsWith('sources') ? (text.split(' . ')[1] ?? '') : []),
    );

  test.each<[string, readonly string[], string, readonly string[]]>([
    [
      'an own address in the ranges also permits the address of the Service',
      ['10.0.0.0/8'],
      '192.0.2.1',
      ['10.0.0.0-10.255.255.255', '192.0.2.1'],
    ],
    ['the same for IPv6', ['2001:db8::3'], '2001:db8::1', ['2001:db8::3', '2001:db8::1']],
    ['without an own address in the ranges it is not permitted', ['10.2.0.0'], '192.0.2.1', ['10.2.0.0']],
    [
      'an address that is already in the ranges occurs only once',
      ['10.0.0.0/8'],
      '10.9.9.9',
      ['10.0.0.0-10.255.255.255'],
    ],
    ['empty ranges permit no client', [], '192.0.2.1', []],
  ])('%s', (_, ranges, vip, expected) => {
    expect(sources(ranges, vip)).toEqual(expected);
  });

  test('follows the own addresses, of restricted listeners only', () => {
    const table = tableOf([
      ['192.0.2.1', 80, ['10.0.0.0/8']],
      ['192.0.2.1', 81],
    ]);
    const element = { set: 'sources4', text: '0:1 . 192.0.2.1' };
    const [none, some] = [targetOf(table), targetOf(table, undefined, undefined, own)];
    expect(difference(none, some)).toEqual({ remove: [], add: [element] });
    expect(difference(some, none)).toEqual({ remove: [element], add: [] });
  });
});

test('added addresses are elements by family', () => {
  expect(keys([], ours).toSorted()).toEqual(['vips4 10.50.0.1', 'vips4 10.50.0.2', 'vips6 fd50::1']);
});

describe('a difference', () => {
  test('between tables with the same listeners in another order is empty', () => {
    const one: Listening = ['192.0.2.1', 80];
    const other: Listening = ['192.0.2.1', 81, ['10.0.0.0/8']];
    expect(between([one, other], [other, one])).toEqual({ remove: [], add: [] });
  });

  test('of a range touches only that range', () => {
    const with_ = (range: string): readonly Listening[] => [['192.0.2.1', 80, ['10.0.0.0/8', range]]];
    expect(between(with_('1.1.1.1'), with_('2.2.2.2'))).toEqual({
      remove: [{ set: 'sources4', text: '0:1 . 1.1.1.1' }],
      add: [{ set: 'sources4', text: '0:1 . 2.2.2.2' }],
    });
  });

  test('of the port of HAProxy replaces the listener', () => {
    const listeners: readonly Listening[] = [['192.0.2.1', 80]];
    const [before, after] = [tableOf(listeners), tableOf(listeners)];
    expect(difference(targetOf(before, ours, 1), targetOf(after, ours, 2))).toEqual({
      remove: [{ set: 'listeners4', text: '192.0.2.1 . 80 : 1' }],
      add: [{ set: 'listeners4', text: '192.0.2.1 . 80 : 2' }],
    });
  });
});

describe('a listener of another dataplane', () => {
  const direct = [
    make.directListener('192.0.2.1', 80, { sourceRanges: [] }),
    make.directListener('192.0.2.1', 80, { protocol: 'TCP', sourceRanges: [] }),
  ];
  const own = addressesOf('192.0.2.1');

  test('has no elements, and no port of HAProxy', () => {
    const target = { ...targetOf(make.tableOf(direct), undefined, undefined, own), portOf: () => expect.fail() };
    expect(differenceTo(steeringLayout, target, emptyMirror(steeringLayout))).toMatchObject({
      parts: [],
      refused: new Map(),
    });
  });

  test('does not count as steered on an own address', () => {
    expect(makeOwnAddressIndex()(targetOf(make.tableOf(direct), undefined, undefined, own))).toBe(false);
  });
});

describe('is refused with the reason, and the other listeners are not:', () => {
  const address = parseIp('192.0.2.1');

  test.each<[string, Partial<Listener>, string]>([
    ['a UDP listener', { protocol: 'UDP' }, 'only TCP'],
    ['an SCTP listener', { protocol: 'SCTP' }, 'only TCP'],
    ['a port out of range', { port: 0 }, '0 is not a port'],
    ['a port that is not an integer', { port: 80.5 }, '80.5 is not a port'],
    [
      'an address with a text that is not its own',
      address === undefined ? {} : { address: { ...address, text: '192.0.2.1 }; flush ruleset' } },
      'is not an address',
    ],
    ['a range of the other family', { sourceRanges: [{ family: 6, first: 0n, last: 1n }] }, 'IPv6'],
  ])('%s', (_, change, message) => {
    const bad = make.listener('192.0.2.1', 80, 30_000, change);
    const good = make.listener('192.0.2.9', 80, 30_000);
    const { parts, refused } = differenceTo(
      steeringLayout,
      targetOf(make.tableOf([bad, good])),
      emptyMirror(steeringLayout),
    );
    expect([...refused]).toEqual([[bad.key, expect.stringContaining(message)]]);
    expect(parts.map(({ listener }) => listener)).toEqual([good.key]);
  });

  test('the elements accepted before stay', () => {
    const before = mirrorOf(targetOf(tableOf([['192.0.2.1', 80]])));
    const bad = make.listener('192.0.2.1', 80, 30_000, { sourceRanges: [{ family: 6, first: 0n, last: 1n }] });
    const { parts, goal } = differenceTo(steeringLayout, targetOf(make.tableOf([bad])), before);
    expect(parts).toEqual([]);
    expect(allElements(steeringLayout, goal)).toEqual(allElements(steeringLayout, before));
    const gone = differenceTo(steeringLayout, targetOf(tableOf([])), goal);
    expect(changeOf(goal.lists, gone.parts).remove).toEqual(allElements(steeringLayout, before));
  });
});

test('whether a listener is on an own address of the host follows the listeners and the addresses', () => {
  const hasOwnAddresses = makeOwnAddressIndex();
  const own = addressesOf('192.0.2.1');
  const [on, off] = [tableOf([['192.0.2.1', 80]]), tableOf([['192.0.2.9', 80]])];
  const answers = [
    hasOwnAddresses(targetOf(off, undefined, undefined, own)),
    hasOwnAddresses(targetOf(on, undefined, undefined, own)),
    hasOwnAddresses(targetOf(on)),
    hasOwnAddresses(targetOf(on, undefined, undefined, own)),
    hasOwnAddresses(targetOf(off, undefined, undefined, own)),
  ];
  expect(answers).toEqual([false, true, false, true, false]);
});
