import { nftCommandsContract } from '../../../test/contract/nft-commands.ts';
import { makeMachines } from '../../../test/netns/net-lab.ts';

nftCommandsContract('in a network namespace', async () => {
  const machines = await makeMachines(['l']);
  return { exec: machines.get('l').execPort, [Symbol.asyncDispose]: () => machines[Symbol.asyncDispose]() };
});
