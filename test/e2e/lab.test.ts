import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { describe, test } from 'vitest';
import { folderOf } from '../../lab/folder.ts';
import { openLab } from '../../lab/lab.ts';
import { environment, run } from '../../lab/machine/run.ts';
import { eventually } from './harness/eventually.ts';
import { labName } from './harness/names.ts';
import { isRoot } from './harness/stage.ts';

const root = path.join(import.meta.dirname, '..', '..');
const { signal } = new AbortController();

/** `npm run lab -- ARGUMENTS`. */
function labCommand(...args: readonly string[]): readonly [string, ...string[]] {
  return [process.execPath, path.join(root, 'lab', 'cli.ts'), ...args];
}

async function lab(...args: readonly string[]): Promise<string> {
  return (await run(labCommand(...args), { signal, timeoutMs: 180_000 })).stdout;
}

/** All parts of a lab on this machine: namespaces, the folder, processes, mounts in any namespace. */
async function tracesOf(name: string): Promise<readonly string[]> {
  const folder = folderOf(name);
  const has = async (file: string, text: string): Promise<boolean> =>
    (await readFile(file, 'utf8').catch(() => '')).includes(text); // the process has ended
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid);
  const traces: string[] = [];
  for (const pid of pids) {
    for (const file of ['environ', 'cmdline', 'mountinfo'])
      if (await has(`/proc/${pid}/${file}`, folder)) traces.push(`${file} of process ${pid}`);
  }
  const namespaces = (await readdir('/run/netns')).filter((entry) => entry.startsWith(`fw-${name}-`));
  const folders = (await readdir(path.dirname(folder))).filter((entry) => entry === path.basename(folder));
  return [...namespaces, ...folders, ...traces];
}

describe.skipIf(!isRoot)('beside the lab of these tests', () => {
  const other = `${labName.slice(0, 12)}t1`;
  const demo = `${labName.slice(0, 12)}demo`;
  const remove = async (name: string): Promise<void> => {
    if ((await tracesOf(name)).length > 0) await lab('down', '--name', name);
  };

  // Side by side: each waits for a lab of its own.
  test.concurrent('another one whose start was killed halfway is started again, and removed without a trace', async ({
    expect,
    onTestFinished,
  }) => {
    onTestFinished(() => remove(other));
    const [program, ...args] = labCommand('up', '--name', other);
    const starting = spawn(program, args, { stdio: 'ignore' });
    await eventually(() => access(path.join(folderOf(other), 'parts', 'cp-apiserver.json')), 60_000);
    starting.kill('SIGKILL');
    await once(starting, 'close');
    expect(await tracesOf(other)).toEqual(expect.arrayContaining([`fw-${other}-n1`, `furiwake-lab-${other}`]));

    expect(await lab('up', '--name', other)).toContain(`Lab ${other} is up.`);
    for (const name of [other, labName]) {
      const { stdout } = await (await openLab(name, signal)).host('cp').exec(['kubectl', 'get', 'nodes']);
      expect(stdout.match(/ Ready /g)).toHaveLength(2);
    }
    expect(await lab('down', '--name', other)).toContain('nothing is left');
    expect(await tracesOf(other)).toEqual([]);
  });

  test.concurrent('the demo runs to its end and leaves no trace', async ({ expect, onTestFinished }) => {
    onTestFinished(() => remove(demo));
    const { stdout } = await run([process.execPath, path.join(root, 'demo', 'demo.ts')], {
      signal,
      timeoutMs: 180_000,
      env: { ...environment(), LAB: demo, KEEP: '0' },
    });
    expect(stdout).toMatch(/Summary\n +create → address +\d+ ms\n.+\n +delete → gone +\d+ ms\n$/);
    expect(await tracesOf(demo)).toEqual([]);
  });
});
