import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { processOf } from '../../lab/machine/processes.ts';
import { removeOrphans } from './orphans.ts';
import { patience } from './patience.ts';

const run = promisify(execFile);

test('the remains of a killed test are removed: its daemons, its namespaces, its folder with what is mounted in it', async () => {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'orphan.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { value } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  const { folder, namespace } = JSON.parse(String(value)) as { folder: string; namespace: string };
  const daemons = async (): Promise<readonly number[]> => {
    const { stdout } = await run('ip', ['netns', 'pids', namespace]);
    return stdout.trim().split('\n').map(Number);
  };
  child.kill('SIGKILL');
  await once(child, 'close');
  const left = await daemons();
  expect(left.length).toBeGreaterThanOrEqual(2); // HAProxy's master and worker
  await removeOrphans();
  expect((await run('ip', ['netns', 'list'])).stdout).not.toContain(`fwt${child.pid}-`);
  expect(existsSync(folder)).toBe(false);
  await expect.poll(async () => (await Promise.all(left.map(processOf))).filter(Boolean), patience).toEqual([]);
});
