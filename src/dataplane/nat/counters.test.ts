import { expect, test } from 'vitest';
import { natListener, tableOf } from '../../../test/make/table.ts';
import type { Exec } from '../../ports/exec.ts';
import { readNatCounters } from './counters.ts';

test('the counters of one listener are asked for alone, however many there are', async () => {
  const asked: string[] = [];
  const run: Exec['run'] = async (_file, _args, { stdin = '' }) => {
    asked.push(stdin);
    return { stdout: '', stderr: '' };
  };
  const exec: Exec = { run, spawn: () => expect.unreachable() };
  const { signal } = new AbortController();
  for (const count of [1, 10_000]) {
    const all = Array.from({ length: count }, (_, index) => natListener('192.0.2.1', 1 + index, 30_000));
    const { listeners } = tableOf(all);
    const one = natListener('192.0.2.1', 1, 30_000).key;
    expect([...(await readNatCounters(exec, listeners, [one], signal)).keys()]).toEqual([one]);
  }
  expect(asked).toHaveLength(2);
  expect(asked[1]).toBe(asked[0]);
});
