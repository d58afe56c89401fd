import { expect, test } from 'vitest';
import { filesOf } from '../../test/sim/harness.ts';
import { type Exec, ExecError } from '../ports/exec.ts';
import type { Files } from '../ports/files.ts';
import { openStateDir, refuseStateDir } from './state-dir.ts';

/** Folders: those that are there, and what was asked of programs. */
function makeScene(...there: readonly string[]): { files: Files; exec: Exec; commands: readonly string[] } {
  const folders = new Set(there);
  const commands: string[] = [];
  const files = {
    ...filesOf(new Map()),
    read: (path: string) => (folders.has(path) ? Promise.reject(new Error('EISDIR')) : Promise.resolve(undefined)),
    makeFolder: async (path: string) => void folders.add(path),
  };
  const exec = {
    run: (file: string, args: readonly string[]) => {
      commands.push([file, ...args].join(' '));
      return Promise.reject(new ExecError('rmdir', 1, 'not empty'));
    },
  } as unknown as Exec;
  return { files, exec, commands };
}

test('folders that were made are taken away again, as long as nothing is in them', async () => {
  const scene = makeScene('/var');
  await (await openStateDir(scene, '/var/lib/furiwake'))[Symbol.asyncDispose]();
  expect(scene.commands).toEqual(['rmdir /var/lib/furiwake /var/lib']);
});

test('a folder that was there stays', async () => {
  const scene = makeScene('/var/lib/furiwake');
  await (await openStateDir(scene, '/var/lib/furiwake'))[Symbol.asyncDispose]();
  expect(scene.commands).toEqual([]);
});

test.each(['EEXIST', 'EACCES', 'EROFS', 'ENOSPC'])('a folder that cannot be made is one line: %s', async (code) => {
  const refusal = Object.assign(new Error(`${code}: no, mkdir '/x/y'`), { code, errno: -1 });
  const files = { ...makeScene('/x').files, makeFolder: () => Promise.reject(refusal) };
  await expect(openStateDir({ files, exec: makeScene().exec }, '/x/y')).rejects.toMatchObject({
    code: 'START',
    message: expect.stringMatching(new RegExp(`^--state-dir: /x/y cannot be used \\(${code}: .*\\): it must be .*$`)),
  });
});

test('what has nothing to do with the disk stays what it is', () => {
  const end = new DOMException('ended by SIGTERM', 'AbortError');
  expect(() => refuseStateDir('/x', end)).toThrow(end);
});
