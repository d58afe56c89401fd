import { advertiserContract } from '../../test/contract/advertiser.ts';
import { makeFakeAdvertiser } from '../../test/make/fake-advertiser.ts';
import { systemClock } from '../main/node/clock.ts';

const mac = '02:00:00:00:00:99';

advertiserContract('the fake that the tests of the agent use', async () => {
  const announced = new Set<string>();
  const { advertiser, duplicateProbe, setDuplicates } = makeFakeAdvertiser(announced, systemClock);
  const stop = new AbortController();
  const running = advertiser.run(stop.signal);
  return {
    advertiser,
    duplicateProbe,
    sendElsewhere: async (address) => void announced.delete(address),
    sendsHere: async (address) => announced.has(address),
    setDuplicate: async (address, isUsed) => {
      setDuplicates(new Map(isUsed ? [[address, mac]] : []));
      return mac;
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
});
