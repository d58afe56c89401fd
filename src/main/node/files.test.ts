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

test('a folder is created with its parents; creating an existing one is not an error', async () => {
  const deep = path.join(folder, 'a/b/c');
  await systemFiles.makeFolder(deep);
  await systemFiles.makeFolder(deep);
  expect(statSync(deep).mode & 0o777).toBe(0o700);
});

test.each([
  ['in place of a file', 'file', 'EEXIST'],
  ['below a file', 'file/a/b', 'ENOTDIR'],
  ['below /proc', '/proc/furiwake/a', 'ENOENT'],
])('creating a folder %s fails without trying forever', async (_, at, code) => {
  await expect(systemFiles.makeFolder(path.resolve(folder, at))).rejects.toMatchObject({ code });
});
