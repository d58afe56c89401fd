import { expect, test } from 'vitest';
import { listener } from '../../test/make/table.ts';
import { startHostRig, webPort } from '../../test/netns/host-rig.ts';
import { setUp } from '../../test/netns/net-lab.ts';
import { systemFiles } from './node/files.ts';

/** Shorter than the time between two audits. */
const soon = { timeout: 20_000, interval: 100 };
const bridge = '/sys/class/net/br0/bridge';

test('a host on a bridge serves again at once when another program makes br_netfilter known with a bridge of its own, as Docker does', async () => {
  let isLoaded = false;
  await using rig = await startHostRig({
    // The module is there from the beginning in the kernel of the tests.
    files: {
      ...systemFiles,
      exists: async (path) =>
        path === '/proc/sys/net/bridge' ? isLoaded : path === bridge || (await systemFiles.exists(path)),
      list: async (path) => (path === '/sys/class/net' ? ['br0', 'lo'] : await systemFiles.list(path)),
    },
    prepare: async ({ balancer }) =>
      await balancer.ip(
        'address flush dev wan',
        'link add br0 type bridge',
        ...setUp('br0', '10.10.0.1/24', 'fd10::1/64'),
        'link set wan master br0',
      ),
  });
  rig.publish(listener('10.50.0.1', 80, webPort));
  await expect.poll(() => rig.agent.troubles(), soon).toEqual([]);
  expect(await rig.fetch('10.50.0.1')).toBe('ECONNREFUSED');
  isLoaded = true;
  await rig.lab.balancer.exec('ip', 'link', 'add', 'docker0', 'type', 'bridge');
  await expect.poll(() => rig.fetch('10.50.0.1'), soon).toBe('n1');
  const said = (): readonly string[] => rig.log.lines.map(({ message }) => message);
  await expect.poll(said, soon).toContain('nftables table adapted to br_netfilter');
});
