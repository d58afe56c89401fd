import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemFiles } from './files.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'furiwake-files-'));
  writeFileSync(path.join(folder, 'file'), '');
});
afterAll(() => rmSync(folder, { recursive: true }));

test('a folder is made with its parents; making one that exists is no error', async () => {
  const deep = path.join(folder, 'a/b/c');
  await systemFiles.makeFolder(deep);
  await systemFiles.makeFolder(deep);
  expect(statSync(deep).mode & 0o777).toBe(0o700);
});

test.each([
  ['where a file is', 'file', 'EEXIST'],
  ['below a file', 'file/a/b', 'ENOTDIR'],
  ['below /proc', '/proc/furiwake/a', 'ENOENT'],
])('a folder %s fails, and does not try for ever', async (_, at, code) => {
  await expect(systemFiles.makeFolder(path.resolve(folder, at))).rejects.toMatchObject({ code });
});
