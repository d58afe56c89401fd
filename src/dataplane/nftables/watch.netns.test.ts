import { afterAll, beforeAll, expect, test } from 'vitest';
import { type NetLab, startNetLab } from '../../../test/netns/net-lab.ts';
import { patience } from '../../../test/netns/patience.ts';
import { type KernelEvent, watchKernel } from './watch.ts';

let lab: NetLab;

beforeAll(async () => {
  lab = await startNetLab({ nodes: 0 });
});
afterAll(() => lab[Symbol.asyncDispose]());

const table = 'table inet furiwake {\n set generation { type mark; }\n}\n';

test('the watch distinguishes transactions of furiwake from others, and says which of them leaves no table', async () => {
  const told: KernelEvent[] = [];
  const stop = new AbortController();
  const { signal } = stop;
  const watching = (async () => {
    const events = watchKernel(lab.balancer.execPort, { name: 'inet furiwake', family: 1 }, signal);
    for await (const event of events) told.push(event);
  })();
  await expect.poll(() => told, patience).toEqual([{ kind: 'unsure' }]);
  const transact = (stdin: string): Promise<unknown> =>
    lab.balancer.execPort.run('nft', ['--file', '-'], { stdin, signal });
  await transact(`${table}add element inet furiwake generation { 7 }\n`);
  await transact('table inet other\ndelete table inet other\n');
  await transact('delete table inet furiwake\n');
  await transact(table);
  await transact(`delete table inet furiwake\n${table}`);
  await transact('flush ruleset\n');
  const by = (generation: number, isGone: boolean): KernelEvent => ({ kind: 'table', generation, isGone });
  await expect
    .poll(() => told.slice(1), patience)
    .toEqual([by(7, false), by(0, true), by(0, false), by(0, false), by(0, true)]);
  stop.abort();
  await watching;
});
