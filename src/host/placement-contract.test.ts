import { systemClock } from '../main/node/clock.ts';
import { placementContract } from '../../test/contract/placement.ts';
import { makeFakeIp } from '../../test/make/fake-ip.ts';
import { makeFakeNetwork } from '../../test/make/fake-network.ts';
import { silent } from '../../test/make/log.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { makeNetwork } from './network.ts';
import { makePlacement } from './placement.ts';
import type { PlacementRecord } from '../ports/placement.ts';

placementContract('the fake that the tests of the agent use', async () => {
  const fake = makeFakeNetwork({ clock: systemClock, lan: ['10.10.0.0/24', 'fd10::/64'] });
  const { network, links, placement, expiry, placed } = fake;
  return {
    placement: { ...placement, ...expiry },
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

placementContract('ip in memory', async () => {
  const lifetime = new AbortController();
  let isRefused = false;
  const { exec, links } = makeFakeIp({
    clock: systemClock,
    refuse: (command) =>
      isRefused && command.startsWith('address add fd50::1/') ? 'Error: IPv6 is disabled on this device.' : undefined,
  });
  links.addEthernet('wan', '10.10.0.1/24', 'fd10::1/64');
  let kept: PlacementRecord = PersistentMap.empty();
  const record = {
    read: async () => kept,
    write: async (next: PlacementRecord) => {
      kept = next;
    },
  };
  const deps = { exec, clock: systemClock, log: silent };
  const network = makeNetwork({ ...deps, files: { read: async () => '' }, record });
  return {
    placement: makePlacement({ ...deps, network, lifetime: lifetime.signal }),
    network,
    links: network.links,
    has: async (address) => links.has(address),
    giveOwn: async (address) => void links.perform(`address add ${address}/24 dev wan`),
    takeAway: async (address) => links.takeAway(address),
    refuse: async (now) => {
      isRefused = now;
    },
    flapLink: async () => {
      for (const state of ['down', 'up']) links.perform(`link set wan ${state}`);
    },
    [Symbol.asyncDispose]: async () => lifetime.abort(),
  };
});
