import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'vitest';
import { removeCgroup } from './leftovers.ts';

describe('removal of a cgroup', () => {
  it('removes it once, and is content when its container has removed it meanwhile', async ({
    expect,
    onTestFinished,
    signal,
  }) => {
    const pods = await mkdtemp(path.join(tmpdir(), 'cgroup-'));
    onTestFinished(() => rm(pods, { recursive: true, force: true }));
    const cgroup = await mkdtemp(path.join(pods, 'container-'));
    await removeCgroup(cgroup, signal);
    await expect(stat(cgroup)).rejects.toThrow('ENOENT');
    await removeCgroup(cgroup, signal);
  });
});
