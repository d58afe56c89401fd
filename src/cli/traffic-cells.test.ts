import { expect, test } from 'vitest';
import { countCells } from './traffic-cells.ts';

const counted = {
  total: 340,
  bytesIn: 1,
  bytesOut: 1,
  packetsOut: undefined,
  refused: 0,
  rates: undefined,
  recent: undefined,
};

test.each([
  ['HAProxy serves', { connections: 0, packetsIn: undefined }, '0'],
  ['HAProxy serves, and has some', { connections: 12, packetsIn: undefined }, '12'],
  ['packets go past HAProxy, which has none', { connections: 0, packetsIn: 810 }, '-'],
  ['packets go past HAProxy, which still has some', { connections: 3, packetsIn: 810 }, '3'],
  ['no packet has come yet', { connections: 0, packetsIn: 0 }, '0'],
  ['only packets are counted', { connections: undefined, packetsIn: 810 }, '-'],
  ['flows are counted', { connections: undefined, packetsIn: 810, recent: { flows: 25, seconds: 300 } }, '25/5m'],
  ['flows are counted for a while', { connections: 0, packetsIn: 0, recent: { flows: 0, seconds: 40 } }, '0/40s'],
  ['HAProxy still has some', { connections: 3, packetsIn: 9, recent: { flows: 25, seconds: 300 } }, '3'],
])('the open connections where %s: %j is shown as %s', (_, open, cell) => {
  expect(countCells({ ...counted, ...open })).toEqual([cell, '340']);
});
