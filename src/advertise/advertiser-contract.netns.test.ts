import { afterAll, beforeAll } from 'vitest';
import { advertiserContract } from '../../test/contract/advertiser.ts';
import { silent } from '../../test/make/log.ts';
import { allAddresses, type PlacementRig, startPlacementRig } from '../../test/netns/placement-rig.ts';
import { systemClock } from '../main/node/clock.ts';
import { hearAnnouncements } from './announcements.ts';
import { makeDefence } from './defence.ts';
import { makeDuplicateProbe, makeDuplicateWatch } from './duplicates.ts';
import { makeFrameSender } from './frame-sender.ts';
import { makeL2Advertiser } from './l2.ts';

let rig: PlacementRig;

beforeAll(async () => {
  rig = await startPlacementRig();
  await rig.placement.add(allAddresses, new AbortController().signal);
});
afterAll(() => rig?.[Symbol.asyncDispose]());

advertiserContract('gratuitous ARP and neighbour advertisements', async () => {
  const { lab, network } = rig;
  const { links } = network;
  const stop = new AbortController();
  const deps = { exec: lab.balancer.execPort, clock: systemClock, log: silent, lifetime: stop.signal, links };
  const duplicateProbe = makeDuplicateProbe(deps);
  const duplicates = makeDuplicateWatch({ probe: duplicateProbe, ...deps });
  const defence = makeDefence({ hear: (signal) => hearAnnouncements(lab.balancer.execPort, signal), ...deps });
  const advertiser = makeL2Advertiser({ sender: makeFrameSender(deps), duplicates, defence, ...deps });
  const running = advertiser.run(stop.signal);
  const [here, elsewhere] = [await macOf('balancer'), await macOf('client')];
  const used = new Set<string>();
  const setDuplicate = async (address: string, isUsed: boolean): Promise<string> => {
    const verb = isUsed ? 'add' : 'delete';
    await lab.client.exec('ip', 'address', verb, `${address}/24`, 'dev', 'eth0');
    if (isUsed) used.add(address);
    else used.delete(address);
    return elsewhere;
  };
  return {
    advertiser,
    duplicateProbe,
    sendElsewhere: (address) => rig.pretendElsewhere(address),
    sendsHere: async (address) => (await rig.neighbour(address)) === here,
    setDuplicate,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
      for (const address of used) await setDuplicate(address, false);
    },
  };
});

async function macOf(machine: 'balancer' | 'client'): Promise<string> {
  const device = machine === 'balancer' ? 'wan' : 'eth0';
  const json = await rig.lab[machine].exec('ip', '-json', 'link', 'show', 'dev', device);
  return (JSON.parse(json) as readonly { readonly address: string }[])[0]?.address ?? '';
}
