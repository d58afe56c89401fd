import { rename, rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { listener } from '../../test/make/table.ts';
import { type HostRig, startHostRig, webPort } from '../../test/netns/host-rig.ts';
import { patience } from '../../test/netns/patience.ts';
import { unsavedTablePath } from '../daemon/platform.ts';
import { keepStateDir, openStateDir } from '../daemon/state-dir.ts';
import { systemClock } from './node/clock.ts';
import { systemExec } from './node/exec.ts';
import { systemFiles } from './node/files.ts';

const address = '10.50.0.1';
const served = listener(address, 80, webPort);
const disk = { files: systemFiles, exec: systemExec };

async function startServing(): Promise<HostRig> {
  const rig = await startHostRig({
    prepare: async (_, stateDir) => {
      await openStateDir(disk, stateDir);
    },
  });
  rig.publish(served);
  await rig.untilAnswers(address);
  return rig;
}

const pidOf = async (rig: HostRig): Promise<number> => (await rig.parts.proxy.observe(AbortSignal.timeout(5_000))).pid;

test('while the state directory is lost HAProxy serves on and takes changes; it is marked again, and the next start accepts it', async () => {
  await using stack = new AsyncDisposableStack();
  const rig = stack.use(await startServing());
  const pid = await pidOf(rig);
  await rename(rig.stateDir, `${rig.stateDir}-gone`); // at once, while furiwake may be writing a file of it
  rig.publish(served, listener('10.50.0.2', 80, webPort));
  await rig.untilAnswers('10.50.0.2');
  await rig.answers(address);
  expect(await pidOf(rig)).toBe(pid);
  expect(await systemFiles.exists(rig.stateDir)).toBe(false);

  const stop = new AbortController();
  const keeping = keepStateDir(
    { folders: [], stateDir: rig.stateDir, restore: async () => [] },
    { files: systemFiles, clock: systemClock, log: rig.log },
    stop.signal,
  ).catch(() => undefined);
  stack.defer(async () => {
    stop.abort();
    await keeping;
  });
  await expect.poll(() => systemFiles.exists(rig.stateDir), patience).toBe(true);
  await openStateDir(disk, rig.stateDir);
  expect(rig.log.lines.filter(({ message }) => message.includes('was lost'))).toHaveLength(1);
});

async function mount(...args: readonly string[]): Promise<void> {
  await systemExec.run('mount', args, { signal: AbortSignal.timeout(5_000) });
}

/** The kernel makes a file system read-only when its disk has an error. */
const remount = (stateDir: string, how: 'ro' | 'rw'): Promise<void> => mount('--options', `remount,${how}`, stateDir);

test('a HAProxy that dies while the state directory is read-only is started at once, with all listeners', async () => {
  await using stack = new AsyncDisposableStack();
  const rig = stack.use(
    await startHostRig({
      prepare: (_, stateDir) => mount('--types', 'tmpfs', 'none', stateDir),
    }),
  );
  stack.defer(async () => {
    await systemExec.run('umount', ['--lazy', rig.stateDir], { signal: AbortSignal.timeout(5_000) });
  });
  rig.publish(served);
  await rig.untilAnswers(address);
  await remount(rig.stateDir, 'ro');
  const pid = await pidOf(rig);
  const diedMs = performance.now();
  process.kill(pid, 'SIGKILL');
  await expect.poll(() => pidOf(rig).catch(() => pid), patience).not.toBe(pid);
  await rig.untilAnswers(address);
  expect(performance.now() - diedMs).toBeLessThan(15_000);
  rig.publish(served, listener('10.50.0.1', 81, webPort)); // on an address that the host has
  const answer = (): Promise<{ text?: string }> =>
    rig.lab.client.ask({ do: 'fetch', address, port: 81, timeoutMs: 3_000 });
  await expect.poll(answer, patience).toMatchObject({ text: 'n1' });
  const isNoted = (): Promise<boolean> => systemFiles.exists(unsavedTablePath(`${rig.lab.folder}/run`));
  await expect.poll(isNoted, patience).toBe(true);
  await remount(rig.stateDir, 'rw');
  await expect.poll(isNoted, patience).toBe(false);
});

test.each(['haproxy.cfg', 'services.map', 'empty'])(
  'a HAProxy that dies after %s was removed is started at once',
  async (name) => {
    await using rig = await startServing();
    const pid = await pidOf(rig);
    await rm(`${rig.lab.folder}/run/haproxy/${name}`, { recursive: true });
    const diedMs = performance.now();
    process.kill(pid, 'SIGKILL');
    await rig.untilAnswers(address);
    expect(performance.now() - diedMs).toBeLessThan(15_000); // an audit, which restores it as well, comes after 30 s
  },
);
