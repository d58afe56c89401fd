import { expect, test } from 'vitest';
import { silent } from '../../../test/make/log.ts';
import { type Listening, tableOf } from '../../../test/netns/classifier-rig.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import * as core from '../../core/traffic/table.ts';
import { emptyTable, type TrafficTable } from '../../core/traffic/table.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import type { Classifier } from '../../ports/host.ts';
import { makeClassifier } from './classifier.ts';

const { signal } = new AbortController();
const listing = JSON.stringify({ nftables: [{ chain: { name: 'classify' } }] });

/** A kernel without a kept nft; `nft` says whether it takes a text. Holds what was sent to it. */
function fakeKernel(takes: (text: string) => boolean): { readonly classifier: Classifier; readonly sent: string[] } {
  const sent: string[] = [];
  const exec: Exec = {
    run: (file, args, { stdin = '' }) => {
      if (file === 'ip') return Promise.resolve({ stdout: '[{"type":"local","table":"8192"}]', stderr: '' });
      if (!args.includes('--file')) return Promise.resolve({ stdout: listing, stderr: '' });
      if (!takes(stdin)) return Promise.reject(new ExecError('nft', 1, 'Error: no'));
      sent.push(stdin);
      return Promise.resolve({ stdout: '', stderr: '' });
    },
    converse: () => ({
      pid: 1,
      write: () => Promise.reject(new ExecError('nft', 1, 'Error: no')),
      lines: (async function* () {})(),
      takeErrors: () => '',
      exited: Promise.resolve(0),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
  };
  const metrics = {
    counter: () => ({ add: () => undefined }),
    gauge: () => ({ set: () => undefined, remove: () => undefined }),
    histogram: () => ({ observe: () => undefined }),
  };
  return { classifier: makeClassifier({ exec, clock: virtualClock(), log: silent, metrics, lifetime: signal }), sent };
}

const apply = (classifier: Classifier, table: TrafficTable): Promise<void> =>
  classifier.apply(table, PersistentMap.empty(), () => 10_000, signal);
const one: Listening = ['192.0.2.1', 80];
const other: Listening = ['192.0.2.2', 80];

test('a change that the kept nft refuses becomes a replacement of the whole table', async () => {
  const { classifier, sent } = fakeKernel(() => true);
  await apply(classifier, tableOf([one]));
  await apply(classifier, tableOf([one, other]));
  expect(sent).toHaveLength(2);
  expect(sent[1]).toContain('delete table inet furiwake');
  expect(sent[1]).toContain('192.0.2.2 . 80 : 10000');
});

test('a table that nft refuses is an error, what was in force is put back by an audit, the next table replaces it', async () => {
  const { classifier, sent } = fakeKernel((text) => !text.includes('192.0.2.2'));
  await apply(classifier, tableOf([one]));
  await expect(apply(classifier, tableOf([one, other]))).rejects.toThrow(ExecError);
  expect(await classifier.audit(signal)).toBe(1);
  await apply(classifier, emptyTable);
  expect(sent.map((text) => text.includes('192.0.2.1'))).toEqual([true, true, false]);
});

test('nothing is written, and nothing repaired, before the first table', async () => {
  const { classifier, sent } = fakeKernel(() => true);
  expect(await classifier.audit(signal)).toBe(0);
  expect(sent).toEqual([]);
});

test('a UDP row is refused and leaves what was in force', async () => {
  const { classifier, sent } = fakeKernel(() => true);
  await apply(classifier, tableOf([one]));
  const rows = [...tableOf([other]).rows.values()].map((row) => ({ ...row, protocol: 'UDP' as const }));
  await expect(apply(classifier, core.tableOf(rows, emptyTable.nodes))).rejects.toThrow('UDP');
  expect(await classifier.audit(signal)).toBe(1); // this kernel lists no elements
  expect(sent.every((text) => text.includes('192.0.2.1'))).toBe(true);
});

test('removing very many source ranges replaces the table instead, which the kernel does faster', async () => {
  const ranges = Array.from({ length: 600 }, (_, i) => `10.${i >> 8}.${i & 255}.1`);
  const { classifier, sent } = fakeKernel(() => true);
  await apply(classifier, tableOf([['192.0.2.1', 80, ranges]]));
  await apply(classifier, tableOf([one]));
  expect(sent[1]).toContain('delete table');
});
