import { placementContract } from '../../test/contract/placement.ts';
import { makeFakePlacement } from '../../test/make/fake-placement.ts';

placementContract('the fake that the tests of the agent use', async () => {
  const fake = makeFakePlacement();
  const { placement, placed } = fake;
  return {
    placement,
    has: async (address) => placed.has(address) || placement.addresses().own.has(address),
    giveOwn: async (address) => fake.setOwn(address),
    takeAway: async (address) => {
      placed.delete(address);
      fake.setOwn(...[...placement.addresses().own.keys()].filter((text) => text !== address));
      fake.tellNetwork('addresses');
    },
    refuse: async (isRefused) => fake.setRefused(new Map(isRefused ? [['fd50::1', 'no']] : [])),
    [Symbol.asyncDispose]: async () => undefined,
  };
});
