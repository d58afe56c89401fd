import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { filesContract } from '../../../test/contract/files.ts';
import { filesOf } from '../../../test/sim/harness.ts';
import { systemFiles } from './files.ts';

filesContract('the disk', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'furiwake-files-'));
  return { files: systemFiles, folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
});

filesContract('a map of texts', async () => {
  const files = filesOf(new Map());
  await files.makeFolder('/folder');
  return { files, folder: '/folder', [Symbol.asyncDispose]: async () => undefined };
});

test('creating a folder below /proc fails without trying forever', async () => {
  await expect(systemFiles.makeFolder('/proc/furiwake/a')).rejects.toMatchObject({ code: 'ENOENT' });
});

test('a named pipe is refused, and a pipe of a shell is read', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'furiwake-files-'));
  const pipe = path.join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  await expect(systemFiles.read(pipe)).rejects.toMatchObject({ code: 'NAMED_PIPE' });
  await rm(folder, { recursive: true });
  const module = path.join(import.meta.dirname, 'files.ts');
  const script = `const { systemFiles } = await import(${JSON.stringify(module)}); console.log(await systemFiles.read('/dev/stdin'));`;
  const shown = execFileSync('sh', ['-c', `echo text | "$0" --input-type=module -e "$1"`, process.execPath, script]);
  expect(shown.toString()).toBe('text\n\n');
});
