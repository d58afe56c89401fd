import { expect, test } from 'vitest';
import { makeFakeNft } from '../../../test/make/fake-nft.ts';
import { tableOf, targetOf } from '../../../test/netns/steering-rig.ts';
import { recordMetrics } from '../../../test/sim/observers.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import type { SteeringTarget } from '../../ports/steering.ts';
import { steeringTable } from './ruleset.ts';
import { steeringLayout } from './steering-layout.ts';
import { makeTableReconciler } from './table-reconciler.ts';

const { signal } = new AbortController();
const words = 'nft: Permission denied';

function makeRig() {
  const nft = makeFakeNft();
  const rig = { nft, isBroken: false };
  const exec: Exec = {
    ...nft.exec,
    run: async (...call) => {
      if (rig.isBroken) throw new ExecError('nft', 1, 'Permission denied');
      return await nft.exec.run(...call);
    },
  };
  const kernel = makeTableReconciler<SteeringTarget>({
    table: steeringTable,
    layout: steeringLayout,
    rulesOf: () => 'rules',
    exec,
    clock: virtualClock(),
    metrics: recordMetrics(),
    repairs: recordMetrics().counter('repairs', ''),
    lifetime: signal,
  });
  const told: unknown[] = [];
  kernel.outage.subscribe(() => told.push(kernel.outage.words()));
  return Object.assign(rig, { kernel, told });
}

test.each([true, false])(
  'while nft fails, a table is out after the second repair if another program has changed it (%s), until it is repaired',
  async (isForeign) => {
    const rig = makeRig();
    const { kernel, told } = rig;
    await kernel.apply(targetOf(tableOf([['192.0.2.1', 80]])), signal);
    kernel.doubt(true);
    await kernel.repair(signal);
    rig.isBroken = true;
    if (isForeign) kernel.saw(0);
    for (const seen of [undefined, isForeign ? words : undefined, isForeign ? words : undefined]) {
      await expect(kernel.repair(signal)).rejects.toThrow(words);
      expect(kernel.outage.words()).toBe(seen);
    }
    rig.isBroken = false;
    await kernel.repair(signal);
    expect([kernel.outage.words(), told]).toEqual([undefined, isForeign ? [words, undefined] : []]);
  },
);

test.each(['replaced', 'removed and made again'])('a table that was out is in force when it is %s', async (how) => {
  const rig = makeRig();
  const { kernel, told } = rig;
  await kernel.apply(targetOf(tableOf([['192.0.2.1', 80]])), signal);
  rig.isBroken = true;
  kernel.saw(0);
  for (let count = 0; count < 2; count++) await expect(kernel.repair(signal)).rejects.toThrow(words);
  expect(kernel.outage.words()).toBe(words);
  rig.isBroken = false;
  if (how === 'replaced') rig.nft.flush();
  else await kernel.remove(signal);
  await kernel.apply(targetOf(tableOf([['192.0.2.1', 81]])), signal);
  expect([kernel.outage.words(), told]).toEqual([undefined, [words, undefined]]);
});

test('a table that cannot be removed stays in place, and out, until it is removed', async () => {
  const rig = makeRig();
  const { kernel, nft, told } = rig;
  await kernel.apply(targetOf(tableOf([['192.0.2.1', 80]])), signal);
  rig.isBroken = true;
  kernel.saw(0);
  for (let count = 0; count < 2; count++) await expect(kernel.repair(signal)).rejects.toThrow(words);
  await expect(kernel.remove(signal)).rejects.toThrow('Permission denied');
  expect([kernel.isInPlace(), nft.elements()?.size]).toEqual([true, 1]);
  rig.isBroken = false;
  await kernel.remove(signal);
  expect([kernel.isInPlace(), nft.elements(), told]).toEqual([false, undefined, [words, undefined]]);
});
