import { expect, test } from 'vitest';
import { listener } from '../../test/make/table.ts';
import { startHostRig, webPort } from '../../test/netns/host-rig.ts';
import { patience } from '../../test/netns/patience.ts';
import type { Listener } from '../core/traffic/table.ts';

const natListener = (address: string): Listener => listener(address, 80, webPort, { dataplane: 'nat' });
const [served, waiting] = [listener('10.50.0.1', 80, webPort), listener('10.50.0.2', 80, webPort)];
const [one, two] = [natListener('10.50.0.3'), natListener('10.50.0.4')];

// How soon they come is tested in virtual time: `slow-proxy.test.ts`.
test('HAProxy hangs: listeners of nat are added and removed meanwhile; that of HAProxy is served when it continues', async () => {
  await using rig = await startHostRig();
  rig.publish(served);
  await rig.untilAnswers('10.50.0.1');
  const reportOf = ({ key }: Listener) => rig.agent.report().listeners.get(key);
  /** Publishes, and waits until all of `wanted` but the listeners of HAProxy are in force, and all else is gone. */
  const change = async (...wanted: readonly Listener[]): Promise<void> => {
    rig.publish(...wanted);
    const isMade = (): boolean =>
      wanted.every((each) => each.dataplane === 'haproxy' || reportOf(each)?.revision === each.revision) &&
      rig.agent.report().listeners.size === wanted.length;
    await expect.poll(isMade, patience).toBe(true);
  };
  const { pid } = await rig.parts.proxy.observe(AbortSignal.timeout(5_000));
  process.kill(pid, 'SIGSTOP');
  await change(served, waiting, one);
  await rig.answers('10.50.0.3');
  await change(served, waiting, one, two);
  await rig.answers('10.50.0.4');
  await change(served, waiting, two);
  expect(await rig.fetch('10.50.0.3')).not.toBe('n1');
  expect(reportOf(waiting)?.revision).toBeUndefined();

  process.kill(pid, 'SIGCONT');
  await rig.untilAnswers('10.50.0.2');
  await rig.answers('10.50.0.4');
  await expect.poll(() => rig.agent.troubles(), patience).toEqual([]);
  expect((await rig.parts.proxy.observe(AbortSignal.timeout(5_000))).pid).toBe(pid);
});
