import { expect, test } from 'vitest';
import { directListener, tableOf } from '../../../../test/make/table.ts';
import type { ListenerKey, ServiceUid } from '../../../core/model/names.ts';
import type { TrafficTable } from '../../../core/traffic/table.ts';
import { makeHandovers } from './handovers.ts';

const of = (uid: string, more: Parameters<typeof directListener>[2] = {}): TrafficTable['listeners'] =>
  tableOf([directListener('203.0.113.1', 443, { protocol: 'TCP', uid: uid as ServiceUid, ...more })], []).listeners;
const none = tableOf([], []).listeners;
const [a, b] = [of('a'), of('b')];
const nothing = new Set<ListenerKey>();

test.each<[what: string, tables: readonly TrafficTable['listeners'][], isTaken: boolean]>([
  ['that nothing had before', [none, a], false],
  ['of the same Service', [a, of('a', { isPublished: true })], false],
  ['of a Service that returns', [a, none, a], false],
  ['that changes hands', [a, b], true],
  ['that another Service gets later', [a, none, b], true],
  ['that the new Service has lost again', [a, b, none], false],
  ['that returns to the first Service', [a, b, a], true],
  ['of UDP, where no packet opens a flow', [of('a', { protocol: 'UDP' }), of('b', { protocol: 'UDP' })], false],
])('a listener %s', (_, tables, isTaken) => {
  const handovers = makeHandovers();
  for (const [index, after] of tables.entries())
    handovers.follow(tables[index - 1] ?? none, after, nothing, index * 1_000);
  const { listeners, untilMs } = handovers.handed(10_000);
  expect(listeners.size === 1).toBe(isTaken);
  expect(untilMs).toBe(isTaken ? 60_000 + (tables.length - 1) * 1_000 : Infinity);
});

test('a minute later it is an ordinary listener, and one that was free for a minute is so at once', () => {
  const handovers = makeHandovers();
  handovers.follow(none, a, nothing, 0);
  handovers.follow(a, b, nothing, 1_000);
  expect(handovers.handed(60_999).listeners.size).toBe(1);
  expect(handovers.handed(61_000).listeners.size).toBe(0);
  handovers.follow(b, none, nothing, 70_000);
  handovers.follow(none, a, nothing, 130_000);
  expect(handovers.handed(130_000).listeners.size).toBe(0);
});

test('one that another host has handed over is an ordinary listener', () => {
  const handovers = makeHandovers();
  handovers.follow(a, none, nothing, 0);
  handovers.follow(none, b, new Set(b.keys()), 1_000);
  expect(handovers.handed(1_000)).toEqual({ listeners: new Set(), untilMs: Infinity });
});
