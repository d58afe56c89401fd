import { expect, test } from 'vitest';
import { execOf } from '../../../../test/make/exec.ts';
import { silent } from '../../../../test/make/log.ts';
import { virtualClock } from '../../../../test/sim/virtual-clock.ts';
import { ExecError } from '../../../ports/exec.ts';
import { makeTableTrial } from './try-table.ts';

const { signal } = new AbortController();
const lack = '/dev/stdin:57:3-20: Error: Could not process rule: No such file or directory\n  fwd ip to\n';

/** The outcome of an `apply` that nft refuses, where the trial fails with `error`. */
async function outcomeOf(error: ExecError | undefined, hasTable = false): Promise<unknown> {
  const exec = execOf(() => {
    if (error !== undefined) throw error;
    return '';
  });
  const ifAble = makeTableTrial({ exec, clock: virtualClock(), log: silent, exists: async () => hasTable });
  const refuse = async (): Promise<never> => {
    throw new ExecError('nft', 1, 'Error: busy');
  };
  try {
    return (await ifAble(refuse, signal)).lacking;
  } catch (failure) {
    return String(failure);
  }
}

test('what nft says of a table that it cannot load is what it lacks', async () => {
  expect(await outcomeOf(new ExecError('unshare', 1, lack))).toBe(`nft: ${lack.split('\n')[0]}`);
});

test.each([
  ['succeeds', undefined],
  ['exceeds its deadline', new ExecError('unshare', undefined, '')],
  ['is not permitted', new ExecError('unshare', 1, 'unshare: unshare failed: Operation not permitted\n')],
  ['finds no nft', new ExecError('unshare', 127, 'unshare: failed to execute nft: No such file or directory\n')],
])('a trial that %s shows no lack', async (_, error) => {
  expect(await outcomeOf(error)).toBe('ExecError: nft: Error: busy');
});

test('a table in the kernel, perhaps of an earlier process, shows that nothing lacks', async () => {
  expect(await outcomeOf(new ExecError('unshare', 1, lack), true)).toBe('ExecError: nft: Error: busy');
});
