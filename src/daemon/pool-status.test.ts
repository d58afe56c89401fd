import { expect, test } from 'vitest';
import { assignedAddress, makeService } from '../../test/make/service.ts';
import type { Assignment } from '../core/addresses/assignment.ts';
import { parseRange } from '../core/ip/range.ts';
import type { SiteRange } from '../core/model/site.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { poolStatus } from './pool-status.ts';

function assignment(text: string, isHostAddress = false): Assignment {
  return {
    addresses: [{ ...assignedAddress(text), isHostAddress }],
    verdict: { reason: 'Assigned', message: '' },
    refused: [],
    disowned: [],
    keepsStatus: false,
    waitsForHost: false,
  };
}

const ranges = [parseRange('192.0.2.8-192.0.2.9')!];

test('the pool is counted, without excluded addresses, with those in use', () => {
  const assignments = PersistentMap.from([
    [makeService('a').key, assignment('192.0.2.8')],
    [makeService('shares').key, assignment('192.0.2.8')],
    [makeService('kept').key, assignment('203.0.113.1', true)],
  ]);
  const pool = { ranges, excluded: new Map([['192.0.2.10', 'address of node n1']]) };
  expect(poolStatus({ pool, assignments })).toEqual({
    ranges: ['192.0.2.8-192.0.2.9'],
    size: '2',
    used: 1,
    left: [{ family: 4, used: 1, count: '1' }],
    leftOut: [{ address: '192.0.2.10', reason: 'address of node n1' }],
    isOwn: false,
  });
});

test('free addresses are counted for each family, since no Service can have an address of another one', () => {
  const both = [...ranges, parseRange('2001:db8::8-2001:db8::a')!];
  const assignments = PersistentMap.from([
    [makeService('a').key, assignment('192.0.2.8')],
    [makeService('b').key, assignment('192.0.2.9')],
    [makeService('c').key, assignment('2001:db8::8')],
  ]);
  const { left } = poolStatus({ pool: { ranges: both, excluded: new Map<string, string>() }, assignments });
  expect(left).toEqual([
    { family: 4, used: 2, count: '0' },
    { family: 6, used: 1, count: '2' },
  ]);
});

test('a range for requests, and one with a name, say so', () => {
  const both = ranges.flatMap((range): SiteRange[] => [
    { ...range, isOnRequest: true },
    { ...range, name: 'web' },
  ]);
  const pool = { ranges: both, excluded: new Map<string, string>() };
  expect(poolStatus({ pool, assignments: PersistentMap.empty() }).ranges).toEqual([
    '192.0.2.8-192.0.2.9 on request',
    'web: 192.0.2.8-192.0.2.9',
  ]);
});

test('a pool of the own addresses of the host is known by the first Service with one', () => {
  const pool = { ranges, excluded: new Map<string, string>() };
  const isOwn = (assignments: readonly (readonly [string, Assignment])[]): boolean =>
    poolStatus({
      pool,
      assignments: PersistentMap.from(assignments.map(([name, each]) => [makeService(name).key, each])),
    }).isOwn;
  expect(isOwn([])).toBe(false);
  expect(isOwn([['a', assignment('192.0.2.8', true)]])).toBe(true);
});
