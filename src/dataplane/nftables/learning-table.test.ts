import { expect, test } from 'vitest';
import { recordMetrics } from '../../../test/sim/observers.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import { makeKernelTable } from './kernel-table.ts';
import { concatText } from './listing.ts';
import type { TableSpec } from './table-text.ts';

const { signal } = new AbortController();
const spec: TableSpec = {
  name: 'netdev furiwake',
  family: 5,
  learns: 'what the kernel knows',
  mostRangesRemoved: Infinity,
  sets: { open: 'set open { type classid; counter;', groups: 'map groups { type classid : classid;' },
  textOf: (set, element) =>
    set === 'groups' ? (element as readonly unknown[]).map(concatText).join(' : ') : concatText(element),
};

/** nft with this table in the kernel, a table of another program, and the commands and texts that it got. */
function makeNft(): {
  readonly exec: Exec;
  readonly commands: string[];
  readonly texts: string[];
  open: readonly unknown[];
  isBroken: boolean;
  /** Another program has deleted the table. */
  isGone: boolean;
} {
  const nft = {
    commands: [] as string[],
    texts: [] as string[],
    isBroken: false,
    isGone: false,
    open: [{ elem: { val: '0:1', counter: null } }] as readonly unknown[],
  };
  const json = (...objects: readonly object[]): string => `${JSON.stringify({ nftables: objects })}\n`;
  const run: Exec['run'] = async (_file, args, { stdin = '' }) => {
    if (args.includes('--file')) {
      nft.texts.push(stdin);
      return { stdout: '', stderr: '' };
    }
    if (nft.isBroken)
      throw new ExecError('nft', 1, 'netlink: Error: cache initialization failed: Cannot allocate memory\n');
    const commands = args.includes('--interactive') ? stdin.trimEnd().split('\n') : [args.slice(1).join(' ')];
    nft.commands.push(...commands);
    const table = 'furiwake';
    const answers = commands.map((command) => {
      if (command.endsWith('list ruleset netdev') && nft.isGone) return json();
      if (command.endsWith('list ruleset netdev'))
        return json({ rule: { table, handle: 1 } }, { rule: { table: 'other', handle: nft.commands.length } });
      if (command === 'list set netdev furiwake open') return json({ set: { table, name: 'open', elem: nft.open } });
      return json({ map: { table, name: 'groups', elem: [['0:1', '0:7']] } });
    });
    return { stdout: answers.join(''), stderr: '' };
  };
  const spawn: Exec['spawn'] = () => {
    throw new Error('not asked here');
  };
  return Object.assign(nft, { exec: { run, spawn } });
}

test('a table to which the kernel adds elements is compared without a list of the table', async () => {
  const nft = makeNft();
  const deps = { table: spec, exec: nft.exec, clock: virtualClock(), metrics: recordMetrics(), lifetime: signal };
  const table = makeKernelTable(deps);
  const elements = [
    { set: 'open', text: '0:1' },
    { set: 'groups', text: '0:1 : 0:7' },
  ];
  expect(await table.replace({ elements: () => elements, rules: '' }, signal)).toBeUndefined();
  expect(await table.difference(() => elements, signal)).toBeUndefined();
  expect(await table.exists(signal)).toBe(true);
  nft.open = [];
  expect(await table.difference(() => elements, signal)).toEqual({
    by: 'other',
    words: 'elements missing: 1, foreign: 0',
  });
  nft.isGone = true;
  const isLost = { by: 'other', words: 'the table is gone, and with it what the kernel knows' };
  expect(await table.difference(() => elements, signal)).toEqual(isLost);
  nft.commands.pop();
  const rules = '--stateless --terse list ruleset netdev';
  const sets = ['list set netdev furiwake open', 'list map netdev furiwake groups'];
  expect(nft.commands).toEqual([rules, rules, rules, ...sets, rules, rules, ...sets]);
});

test('a table that nft cannot list is neither replaced nor reported as missing', async () => {
  const nft = makeNft();
  const deps = { table: spec, exec: nft.exec, clock: virtualClock(), metrics: recordMetrics(), lifetime: signal };
  const table = makeKernelTable(deps);
  expect(await table.replace({ elements: () => [], rules: '' }, signal)).toBeUndefined();
  nft.texts.length = 0;
  nft.isBroken = true;
  await expect(table.exists(signal)).rejects.toThrow('Cannot allocate memory');
  await expect(table.difference(() => [], signal)).rejects.toThrow('Cannot allocate memory');
  await expect(table.replace({ elements: () => [], rules: '' }, signal)).rejects.toThrow('Cannot allocate memory');
  expect(nft.texts).toEqual([]);
});
