import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { filesContract } from '../../../test/contract/files.ts';
import { filesOf } from '../../../test/sim/harness.ts';
import { systemExec } from './exec.ts';
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

test('a full disk is an error that names the file', async () => {
  await expect(systemFiles.append('/dev/full', 'text')).rejects.toMatchObject({
    message: 'cannot write /dev/full: no space left on device',
    code: 'ENOSPC',
    words: 'no space left on device',
  });
});

test('a named pipe without a writer is empty, and the output of a command is read as a file', async () => {
  const { signal } = new AbortController();
  const folder = await mkdtemp(path.join(tmpdir(), 'furiwake-files-'));
  await using _ = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
  const pipe = path.join(folder, 'pipe');
  await systemExec.run('mkfifo', [pipe], { signal });
  expect(await systemFiles.read(pipe)).toBe('');
  const script = `
    import { systemFiles } from ${JSON.stringify(new URL('files.ts', import.meta.url).href)};
    process.stdout.write(await systemFiles.read(process.argv[1]));`;
  const substituted = 'exec "$0" --input-type=module -e "$1" <(echo early; sleep 0.1; echo late)';
  const { stdout } = await systemExec.run('bash', ['-c', substituted, process.execPath, script], { signal });
  expect(stdout).toBe('early\nlate\n');
});
