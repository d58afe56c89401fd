import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Result, makeResults } from './results.ts';

const result = (name: string, verdict: Result['verdict']): Result => ({
  name,
  verdict,
  seconds: 3,
  why: '',
  furiwake: 'a',
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'conformance-'));
});
afterEach(() => rm(folder, { recursive: true }));

test('the last result of each case is read by the next run of the command', async () => {
  expect(await makeResults(folder).read()).toEqual(new Map());
  for (const each of [result('a', 'failed'), result('b', 'passed'), result('a', 'passed')])
    await makeResults(folder).put(each);
  expect([...(await makeResults(folder).read()).values()]).toEqual([result('a', 'passed'), result('b', 'passed')]);
});

test('cleared results are gone', async () => {
  const results = makeResults(folder);
  await results.put(result('a', 'passed'));
  await results.clear();
  await results.clear();
  expect(await results.read()).toEqual(new Map());
});
