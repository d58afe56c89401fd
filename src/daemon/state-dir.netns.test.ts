import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { systemExec as exec } from '../main/node/exec.ts';
import { systemFiles as files } from '../main/node/files.ts';
import { openStateDir } from './state-dir.ts';

const { signal } = new AbortController();

test.each([
  ['read-only', 'ro', 'the file system is read-only: remount it, or choose another folder'],
  ['without free inodes', 'nr_inodes=1', 'the disk is full: free some space'],
])('a state directory on a real file system that is %s is refused on one line', async (_, option, advice) => {
  const stateDir = await mkdtemp(path.join(tmpdir(), 'furiwake-state-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(stateDir, { recursive: true }));
  await exec.run('mount', ['-t', 'tmpfs', '-o', `${option},mode=700`, 'none', stateDir], { signal });
  stack.defer(() => exec.run('umount', [stateDir], { signal }).then(() => undefined));
  await expect(openStateDir({ files, exec }, stateDir)).rejects.toMatchObject({
    code: 'START',
    message: `--state-dir: ${stateDir} cannot be used: ${advice}`,
  });
  expect(await files.list(stateDir)).toEqual([]);
});
