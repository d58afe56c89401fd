import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

test('ten files that hang keep furiwake from no other file', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'furiwake-threads-'));
  try {
    // To open a FIFO without a writer takes until there is one.
    const fifos = Array.from({ length: 10 }, (_, index) => path.join(folder, `fifo${index}`));
    execFileSync('mkfifo', fifos);
    const program = `
      await import(${JSON.stringify(path.join(import.meta.dirname, 'threads.ts'))});
      const { open, readFile } = await import('node:fs/promises');
      for (const fifo of ${JSON.stringify(fifos)}) void open(fifo);
      await readFile('/proc/self/stat');
      process.stdout.write('read', () => process.kill(process.pid, 'SIGKILL')); // an exit would wait for the threads`;
    const child = promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], {
      timeout: 60_000,
      killSignal: 'SIGKILL',
    });
    await expect(child).rejects.toMatchObject({ stdout: 'read' });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
