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
