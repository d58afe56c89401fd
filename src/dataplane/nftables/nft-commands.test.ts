import { nftCommandsContract } from '../../../test/contract/nft-commands.ts';
import { makeFakeNft } from '../../../test/make/fake-nft.ts';

nftCommandsContract('in memory', async (table) => ({
  exec: makeFakeNft({ table }).exec,
  [Symbol.asyncDispose]: async () => undefined,
}));
