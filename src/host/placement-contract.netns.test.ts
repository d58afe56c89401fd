import { placementContract } from '../../test/contract/placement.ts';
import { startPlacementRig } from '../../test/netns/placement-rig.ts';

placementContract('a host in a network namespace', async () => {
  const rig = await startPlacementRig();
  const { balancer } = rig.lab;
  const placeOf = async (address: string): Promise<readonly string[]> =>
    (await rig.places()).find((place) => place.includes(` ${address}/`))?.split(' ') ?? [];
  return {
    placement: rig.placement,
    network: rig.network,
    links: rig.network.links,
    has: async (address) => (await placeOf(address)).length > 0,
    giveOwn: async (address) => {
      await balancer.exec('ip', 'address', 'add', `${address}/24`, 'dev', 'wan');
    },
    takeAway: async (address) => {
      const [device = '', cidr = ''] = await placeOf(address);
      await balancer.exec('ip', 'address', 'delete', cidr, 'dev', device);
    },
    refuse: async (isRefused) => {
      // If furiwake0 exists, it has its own setting.
      for (const where of ['default', 'furiwake0'])
        await balancer
          .exec('sysctl', '-qw', `net.ipv6.conf.${where}.disable_ipv6=${isRefused ? 1 : 0}`)
          .catch((error: unknown) => {
            if (where === 'default') throw error;
          });
    },
    flapLink: async () => {
      for (const state of ['down', 'up']) await balancer.exec('ip', 'link', 'set', 'wan', state);
    },
    [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose](),
  };
});
