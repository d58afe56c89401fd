import { systemClock } from '../main/node/clock.ts';
import { placementContract } from '../../test/contract/placement.ts';
import { makeFakeNetwork } from '../../test/make/fake-network.ts';

placementContract('the fake that the tests of the agent use', async () => {
  const fake = makeFakeNetwork({ clock: systemClock, lan: ['10.10.0.0/24', 'fd10::/64'] });
  const { network, links, placement, placed } = fake;
  return {
    placement,
    network,
    links,
    has: async (address) => placed.has(address) || network.addresses().own.has(address),
    giveOwn: async (address) => fake.setOwn(address),
    takeAway: async (address) => {
      placed.delete(address);
      fake.setOwn(...[...network.addresses().own.keys()].filter((text) => text !== address));
      fake.tellNetwork('addresses');
    },
    refuse: async (isRefused) => fake.setRefused(new Map(isRefused ? [['fd50::1', 'no']] : [])),
    flapLink: async () => fake.tellNetwork('link up'),
    [Symbol.asyncDispose]: async () => undefined,
  };
});
