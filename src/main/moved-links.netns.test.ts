import { expect, test } from 'vitest';
import { directListener } from '../../test/make/table.ts';
import { startHostRig } from '../../test/netns/host-rig.ts';

/** Shorter than the time between two audits. */
const soon = { timeout: 20_000, interval: 100 };

test('the device of the nodes that is renamed, or made again under the same name, has the chain of direct again at once', async () => {
  await using rig = await startHostRig();
  const { balancer } = rig.lab;
  const ip = (...args: readonly string[]) => balancer.exec('ip', ...args);
  /** The device of the chain. */
  const device = async (): Promise<string | undefined> =>
    /hook ingress device "(\w+)"/.exec(await balancer.exec('nft', 'list', 'table', 'netdev', 'furiwake'))?.[1];
  rig.publish(directListener('10.50.0.1', 53));
  await expect.poll(() => device().catch(() => ''), soon).toBe('lan');

  await ip('link', 'set', 'lan', 'down');
  await ip('link', 'set', 'lan', 'name', 'inside');
  await ip('link', 'set', 'inside', 'up');
  await expect.poll(device, soon).toBe('inside');

  await ip('link', 'del', 'inside');
  await expect.poll(device, soon).toBeUndefined();
  await ip('link', 'add', 'inside', 'type', 'bridge');
  await ip('address', 'add', '10.20.0.1/24', 'dev', 'inside');
  await ip('link', 'set', 'inside', 'up');
  await expect.poll(device, soon).toBe('inside');
});
