import { afterAll, beforeAll, expect, test } from 'vitest';
import { patience } from '../../../test/netns/patience.ts';
import { type PlacementRig, startPlacementRig } from '../../../test/netns/placement-rig.ts';
import { parseRange } from '../../core/ip/range.ts';
import { systemClock } from '../../main/node/clock.ts';
import type { Finding } from './finding.ts';
import { checkDuplicates } from './pool.ts';

const { signal } = new AbortController();
let rig: PlacementRig;

beforeAll(async () => {
  rig = await startPlacementRig();
  await rig.network.refresh(signal);
});
afterAll(() => rig[Symbol.asyncDispose]());

function find(...ranges: readonly string[]): Promise<Finding> {
  const exec = rig.lab.balancer.execPort;
  const pool = ranges.flatMap((text) => parseRange(text) ?? []);
  return checkDuplicates(pool, rig.network, { exec, clock: systemClock }, signal);
}

test('an address of the pool that another machine has is named with its MAC', async () => {
  // A link that has just come up loses frames.
  await expect
    .poll(() => find('10.10.0.1-10.10.0.9', 'fd10::2-fd10::4'), patience)
    .toEqual({
      mark: 'warning',
      found: expect.stringMatching(
        /^addresses in use on the LAN: 10\.10\.0\.2 \((?:[\da-f]{2}:){5}[\da-f]{2}\), fd10::2 \(/,
      ),
      advice: expect.stringContaining('take them out of the pool'),
    });
});

test('a free pool is fine, however large; its own addresses and what it needs are not asked for', async () => {
  expect(await find('10.10.0.0-10.10.0.1', '10.10.0.50-10.10.0.59')).toEqual({
    mark: 'ok',
    found: 'none on the LAN has one of 10 addresses',
  });
  expect(await find('fd10::1:0:0/96')).toMatchObject({ mark: 'ok' });
});

test('of a pool that is on no LAN of this host, it says that a router must route it', async () => {
  expect(await find('10.50.0.0/16')).toMatchObject({ mark: 'ok', found: expect.stringMatching(/a router must route/) });
});
