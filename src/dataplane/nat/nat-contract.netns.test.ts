import { afterAll, beforeAll } from 'vitest';
import { type Fate, natContract } from '../../../test/contract/nat.ts';
import { type NatRig, startNatRig } from '../../../test/netns/nat-rig.ts';
import { limited } from '../../../test/netns/limited-nft.ts';

const mostRanges = 8;
let rig: NatRig;

beforeAll(async () => {
  rig = await startNatRig();
});
afterAll(() => rig?.[Symbol.asyncDispose]());

natContract('the kernel', async () => {
  const { balancer, client } = rig.lab;
  let isBroken = false;
  const lifetime = new AbortController();
  const exec = limited(balancer.execPort, mostRanges, () => isBroken);
  const nat = rig.makeNew(lifetime.signal, exec);
  return {
    nat,
    mostRanges,
    fateOf: async ({ address, port }): Promise<Fate> => {
      const call = { do: 'askUdp', address: address.text, port, timeoutMs: 1_000, isConnected: true } as const;
      const { text, error } = await client.ask(call);
      if (text !== undefined) return 'served';
      return error === 'ECONNREFUSED' ? 'refused' : 'dropped';
    },
    breakAll: (now) => {
      isBroken = now;
    },
    breakConntrack: (now) => rig.breakConntrack(now),
    remove: ({ address, port }) =>
      balancer.nft(`delete element inet furiwake-nat listeners4 { ${address.text} . udp . ${port} }`),
    [Symbol.asyncDispose]: async () => {
      isBroken = false;
      rig.breakConntrack(false);
      await nat.remove(new AbortController().signal);
      lifetime.abort();
    },
  };
});
