import { expect, test, vi } from 'vitest';
import { limited } from '../../../test/netns/limited-nft.ts';
import { patience } from '../../../test/netns/patience.ts';
import { startSteeringRig, tableOf, targetOf } from '../../../test/netns/steering-rig.ts';

const { signal } = new AbortController();

test('a flush that nft cannot revert is an outage, until it can', async () => {
  await using rig = await startSteeringRig();
  const { balancer } = rig.lab;
  let isBroken = false;
  const exec = limited(balancer.execPort, 100, () => isBroken);
  const stop = new AbortController();
  const steering = rig.makeNew(stop.signal, exec);
  await steering.apply(targetOf(tableOf([['10.50.0.1', 80]])), signal);
  const ended = steering.run(stop.signal).catch(() => undefined); // only that it was aborted
  await balancer.nft('flush ruleset');
  await vi.waitUntil(() => rig.repaired() > 0, patience);
  expect(steering.outage.words()).toBeUndefined();
  isBroken = true;
  await balancer.nft('flush ruleset');
  await vi.waitUntil(() => steering.outage.words() !== undefined, patience);
  expect(steering.outage.words()).toMatch(/^nft: .+/);
  isBroken = false;
  await vi.waitUntil(() => steering.outage.words() === undefined, patience);
  expect(await balancer.exec('nft', 'list', 'tables')).toContain('inet furiwake');
  stop.abort();
  await ended;
});
