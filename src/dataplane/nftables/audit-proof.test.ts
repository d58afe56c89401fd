import { expect, test } from 'vitest';
import { type FakeNft, makeFakeNft } from '../../../test/make/fake-nft.ts';
import { tableOf, targetOf } from '../../../test/netns/steering-rig.ts';
import { untilIdle } from '../../../test/sim/event-loop.ts';
import { recordMetrics } from '../../../test/sim/observers.ts';
import { type VirtualClock, virtualClock } from '../../../test/sim/virtual-clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import type { SteeringTarget } from '../../ports/steering.ts';
import { steeringTable } from './ruleset.ts';
import { steeringLayout } from './steering-layout.ts';
import { makeTableReconciler, type TableReconciler } from './table-reconciler.ts';

const { signal } = new AbortController();

type Rig = { readonly nft: FakeNft; readonly clock: VirtualClock; readonly kernel: TableReconciler<SteeringTarget> };

function makeKernel(exec: Exec): Pick<Rig, 'clock' | 'kernel'> {
  const clock = virtualClock();
  const kernel = makeTableReconciler<SteeringTarget>({
    table: steeringTable,
    layout: steeringLayout,
    rulesOf: () => 'rules',
    exec,
    clock,
    metrics: recordMetrics(),
    repairs: recordMetrics().counter('repairs', ''),
    lifetime: signal,
  });
  return { clock, kernel };
}

/** A table that the watch follows, and in which an element is missing by no transaction. */
async function makeRig(): Promise<Rig> {
  const nft = makeFakeNft();
  const { clock, kernel } = makeKernel(nft.exec);
  await kernel.apply(targetOf(tableOf([['192.0.2.1', 80]])), signal);
  kernel.doubt(true);
  expect(await kernel.repair(signal)).toBeUndefined();
  nft.change((elements) => elements.clear());
  return { nft, clock, kernel };
}

/** The watch sees the last transaction. */
function seeLast({ nft, kernel }: Rig): boolean {
  const [, generation] = /add element \S+ \S+ generation \{ (0x\w+) \}/.exec(nft.accepted.at(-1) ?? '') ?? [];
  return kernel.saw(Number(generation));
}

test('an audit reads no element when the watch sees its transaction, and has seen no other program', async () => {
  const rig = await makeRig();
  const before = rig.nft.transactions();
  const audit = rig.kernel.audit(signal);
  await untilIdle();
  expect(seeLast(rig)).toBe(true);
  expect([await audit, rig.nft.transactions() - before, rig.nft.elements()?.size]).toEqual([undefined, 1, 0]);
});

test.each<[string, (rig: Rig) => void]>([
  ['after a transaction of another program', ({ kernel }) => kernel.saw(0)],
  ['after messages were lost', ({ kernel }) => kernel.doubt(true)],
  ['while nothing watches the table', ({ kernel }) => kernel.doubt(false)],
])('an audit reads the table %s', async (_, happen) => {
  const rig = await makeRig();
  happen(rig);
  expect(await rig.kernel.audit(signal)).toBe('elements missing: 1, foreign: 0');
  expect(rig.nft.elements()?.size).toBe(1);
});

test('while nothing watches the table, audits make no transaction for the proof', async () => {
  const { kernel, nft } = await makeRig();
  kernel.doubt(false);
  await kernel.audit(signal);
  const before = nft.transactions();
  expect([await kernel.audit(signal), nft.transactions()]).toEqual([undefined, before]);
});

test('an audit reads the table when another program changes it meanwhile, or the watch does not see its transaction', async () => {
  const rig = await makeRig();
  const audit = rig.kernel.audit(signal);
  await untilIdle();
  rig.kernel.saw(0);
  expect(await audit).toBe('elements missing: 1, foreign: 0');
  rig.nft.change((elements) => elements.clear());
  expect(await rig.clock.drive(rig.kernel.audit(signal))).toBe('elements missing: 1, foreign: 0');
});

test("an audit restores what a late transaction of furiwake's own has changed, and reports no external change", async () => {
  const nft = makeFakeNft({ hasSession: false });
  let isLate = false;
  const run: Exec['run'] = async (file, args, options) => {
    const result = await nft.exec.run(file, args, options);
    if (isLate && args.includes('--file')) throw new ExecError('nft', undefined, 'timed out after 60000 ms');
    return result;
  };
  const { kernel } = makeKernel({ ...nft.exec, run });
  await kernel.apply(targetOf(tableOf([['192.0.2.1', 80]])), signal);
  isLate = true;
  const two = targetOf(
    tableOf([
      ['192.0.2.1', 80],
      ['192.0.2.1', 81],
    ]),
  );
  await expect(kernel.apply(two, signal)).rejects.toThrow('timed out after');
  isLate = false;
  expect([await kernel.audit(signal), nft.elements()?.size]).toEqual([undefined, 1]);
  nft.change((elements) => elements.clear());
  expect(await kernel.audit(signal)).toBe('elements missing: 1, foreign: 0');
});

test('a check reads no element; it restores a table whose rules differ, and one of which it is not known what it has', async () => {
  const rig = await makeRig();
  const { kernel, nft } = rig;
  kernel.doubt(false);
  const before = nft.transactions();
  expect([await kernel.check(signal), nft.transactions(), nft.elements()?.size]).toEqual([undefined, before, 0]);
  nft.flush();
  expect(await kernel.check(signal)).toBe('the table is gone');
  expect(nft.elements()?.size).toBe(1);
});
