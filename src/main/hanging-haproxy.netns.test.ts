import { expect, test } from 'vitest';
import { listener } from '../../test/make/table.ts';
import { startHostRig, webPort } from '../../test/netns/host-rig.ts';
import { patience } from '../../test/netns/patience.ts';
import type { Listener } from '../core/traffic/table.ts';

const natListener = (address: string): Listener => listener(address, 80, webPort, { dataplane: 'nat' });
const [served, waiting] = [listener('10.50.0.1', 80, webPort), listener('10.50.0.2', 80, webPort)];
const [one, two] = [natListener('10.50.0.3'), natListener('10.50.0.4')];

// A machine that is busy with other tests may need longer: what counts is that a change can be so fast.
test(
  'HAProxy hangs: listeners of nat come within two seconds, the next ones sooner, and go; that of HAProxy comes when it continues',
  { retry: 3 },
  async () => {
    await using rig = await startHostRig();
    rig.publish(served);
    await rig.untilAnswers('10.50.0.1');
    const reportOf = ({ key }: Listener) => rig.agent.report().listeners.get(key);
    /** Publishes; after how many ms all of `wanted` but the listeners of HAProxy are in force, and all else is gone. */
    const change = async (...wanted: readonly Listener[]): Promise<number> => {
      const begunMs = performance.now();
      rig.publish(...wanted);
      const isMade = (): boolean =>
        wanted.every((each) => each.dataplane === 'haproxy' || reportOf(each)?.revision === each.revision) &&
        rig.agent.report().listeners.size === wanted.length;
      await expect.poll(isMade, { ...patience, interval: 10 }).toBe(true);
      return performance.now() - begunMs;
    };
    const { pid } = await rig.parts.proxy.observe(AbortSignal.timeout(5_000));
    process.kill(pid, 'SIGSTOP');
    expect(await change(served, waiting, one)).toBeLessThan(2_000);
    await rig.answers('10.50.0.3');
    expect(await change(served, waiting, one, two)).toBeLessThan(1_000);
    await rig.answers('10.50.0.4');
    expect(await change(served, waiting, two)).toBeLessThan(1_000);
    expect(await rig.fetch('10.50.0.3')).not.toBe('n1');
    expect(reportOf(waiting)?.revision).toBeUndefined();

    process.kill(pid, 'SIGCONT');
    await rig.untilAnswers('10.50.0.2');
    await rig.answers('10.50.0.4');
    await expect.poll(() => rig.agent.troubles(), patience).toEqual([]);
    expect((await rig.parts.proxy.observe(AbortSignal.timeout(5_000))).pid).toBe(pid);
  },
);
