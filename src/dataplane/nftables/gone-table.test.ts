import { expect, test } from 'vitest';
import { makeFakeNft } from '../../../test/make/fake-nft.ts';
import { tableOf, targetOf } from '../../../test/netns/steering-rig.ts';
import { recordMetrics } from '../../../test/sim/observers.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { SteeringTarget } from '../../ports/steering.ts';
import { steeringTable } from './ruleset.ts';
import { steeringLayout } from './steering-layout.ts';
import { makeTableReconciler } from './table-reconciler.ts';

const { signal } = new AbortController();

/** A table that the watch follows. `calls`: whether each call of nft since then wrote something. */
async function makeRig() {
  const nft = makeFakeNft({ hasSession: false, table: { ...steeringTable, learns: 'what the kernel knows' } });
  const calls: ('reads' | 'writes')[] = [];
  const run: Exec['run'] = (file, args, options) => {
    calls.push(args.includes('--file') ? 'writes' : 'reads');
    return nft.exec.run(file, args, options);
  };
  const kernel = makeTableReconciler<SteeringTarget>({
    table: { ...steeringTable, learns: 'what the kernel knows' },
    layout: steeringLayout,
    rulesOf: () => 'rules',
    exec: { ...nft.exec, run },
    clock: virtualClock(),
    metrics: recordMetrics(),
    repairs: recordMetrics().counter('repairs', ''),
    lifetime: signal,
  });
  const apply = (port: number): Promise<unknown> => kernel.apply(targetOf(tableOf([['192.0.2.1', port]])), signal);
  await apply(80);
  kernel.doubt(true);
  await kernel.repair(signal);
  calls.length = 0;
  return { nft, kernel, apply, calls };
}

test('a table that another program deletes is written at once: nothing is read before', async () => {
  const { nft, kernel, calls } = await makeRig();
  nft.flush();
  kernel.saw(0, true);
  expect(await kernel.repair(signal)).toBe('the table is gone, and with it what the kernel knows');
  expect([calls[0], nft.elements()?.size]).toEqual(['writes', 1]);
  expect(await kernel.repair(signal)).toBeUndefined();
});

test('a table that furiwake has written since it was deleted is read, and stays', async () => {
  const { nft, kernel, apply, calls } = await makeRig();
  nft.flush();
  await apply(81);
  expect(nft.elements()?.size).toBe(1);
  calls.length = 0;
  kernel.saw(0, true);
  expect(await kernel.repair(signal)).toBeUndefined();
  expect(new Set(calls)).toEqual(new Set(['reads']));
});

test('a deleted table that cannot be written is read again before the next attempt', async () => {
  const { nft, kernel, calls } = await makeRig();
  nft.flush();
  kernel.saw(0, true);
  const aborted = AbortSignal.abort();
  await expect(kernel.repair(aborted)).rejects.toThrow('aborted');
  calls.length = 0;
  expect(await kernel.repair(signal)).toBe('the table is gone, and with it what the kernel knows');
  expect(calls[0]).toBe('reads');
});
