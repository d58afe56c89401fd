import { rm, unlink } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { listener } from '../../test/make/table.ts';
import { type HostRig, startHostRig, webPort } from '../../test/netns/host-rig.ts';
import { patience } from '../../test/netns/patience.ts';
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

test('while the state directory is lost HAProxy serves on; it is marked again, and the next start accepts it', async () => {
  await using stack = new AsyncDisposableStack();
  const rig = stack.use(await startServing());
  const pid = await pidOf(rig);
  await rm(rig.stateDir, { recursive: true });
  rig.publish(served, listener('10.50.0.2', 80, webPort)); // a change, which finds no command socket
  await expect.poll(() => rig.agent.troubles().join(), patience).toContain('does not exist');
  for (let request = 0; request < 20; request++) await rig.answers(address);
  expect(() => process.kill(pid, 0)).not.toThrow();
  expect(await systemFiles.exists(rig.stateDir)).toBe(false);

  const stop = new AbortController();
  const keeping = keepStateDir(
    { stateDir: rig.stateDir, restore: async () => undefined },
    { files: systemFiles, clock: systemClock, log: rig.log },
    stop.signal,
  ).catch(() => undefined);
  stack.defer(async () => {
    stop.abort();
    await keeping;
  });
  await rig.untilAnswers('10.50.0.2');
  await rig.answers(address);
  await openStateDir(disk, rig.stateDir);
  expect(rig.log.lines.filter(({ message }) => message.includes('was lost'))).toHaveLength(1);
});

test('a HAProxy that dies after its configuration was removed is started at once', async () => {
  await using rig = await startServing();
  const pid = await pidOf(rig);
  await unlink(`${rig.stateDir}/haproxy/haproxy.cfg`);
  const diedMs = performance.now();
  process.kill(pid, 'SIGKILL');
  await rig.untilAnswers(address);
  expect(performance.now() - diedMs).toBeLessThan(15_000); // an audit, which restores it as well, comes after 30 s
});
