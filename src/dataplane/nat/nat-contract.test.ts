import { type Fate, natContract } from '../../../test/contract/nat.ts';
import { makeFakeNat } from '../../../test/make/fake-nat.ts';
import { parseIp } from '../../core/ip/ip.ts';
import { rangeContains } from '../../core/ip/range.ts';

const mostRanges = 8;
const client = parseIp('10.10.0.2');

natContract('the fake that the tests of the agent use', async () => {
  let isBroken = false;
  let isConntrackBroken = false;
  const fake = makeFakeNat({
    refuse: ({ sourceRanges }) =>
      (sourceRanges?.length ?? 0) > mostRanges ? 'nft: Error: Too many open files in system' : undefined,
    sweep: () => {
      if (isConntrackBroken) throw new Error('conntrack: Operation not permitted');
    },
    step: async (name) => {
      if (isBroken && name === 'apply') throw new Error('nft: Error: Operation not permitted');
    },
  });
  return {
    nat: fake.nat,
    mostRanges,
    fateOf: async ({ key }): Promise<Fate> => {
      const { listeners, nodes } = fake.held;
      const held = listeners.get(key);
      if (held === undefined || held.isDraining || ![...nodes.values()].some(({ state }) => state === 'active'))
        return 'refused';
      const isAllowed = held.sourceRanges?.some((range) => client !== undefined && rangeContains(range, client));
      return isAllowed === false ? 'dropped' : 'served';
    },
    breakAll: (now) => {
      isBroken = now;
    },
    breakConntrack: (now) => {
      isConntrackBroken = now;
    },
    remove: async ({ key }) => {
      fake.held = { ...fake.held, listeners: fake.held.listeners.with([[key, undefined]]) };
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
});
