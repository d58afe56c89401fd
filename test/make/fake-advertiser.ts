import { isDeepStrictEqual } from 'node:util';
import { untilAborted } from '../../src/async/abort.ts';
import { makeSubscribers } from '../../src/async/subscribers.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Advertiser, DuplicateProbe } from '../../src/ports/advertiser.ts';
import type { Addresses } from '../../src/ports/host.ts';

/** The neighbours of a host, in memory. Keeps to the contract of its port (test/contract/advertiser.ts). */
export type FakeAdvertiser = {
  readonly advertiser: Advertiser;
  readonly duplicateProbe: DuplicateProbe;
  readonly advertised: () => Addresses;
  /** Other machines on the LAN have these addresses: text → MAC. */
  readonly setDuplicates: (machines: ReadonlyMap<string, string>) => void;
};

/** A probe waits so long for answers. */
const windowMs = 250;

/** `announced` gets each new address that is advertised. */
export function makeFakeAdvertiser(announced: Set<string>, clock: Pick<Clock, 'sleep'>): FakeAdvertiser {
  let advertised: Addresses = PersistentMap.empty();
  let machines: ReadonlyMap<string, string> = new Map();
  let duplicates: ReadonlyMap<string, string> = new Map();
  const subscribers = makeSubscribers<ReadonlyMap<string, string>>();
  const look = (): void => {
    const found = new Map([...machines].filter(([text]) => advertised.has(text)));
    if (isDeepStrictEqual(found, duplicates)) return;
    duplicates = found;
    subscribers.tell(found);
  };
  return {
    advertiser: {
      advertise: (addresses) => {
        for (const text of addresses.keys()) if (!advertised.has(text)) announced.add(text);
        advertised = addresses;
        look();
      },
      trouble: () => undefined,
      onDuplicates: subscribers.subscribe,
      run: untilAborted,
    },
    duplicateProbe: async (addresses, signal) => {
      await clock.sleep(windowMs, signal);
      return new Map([...machines].filter(([text]) => addresses.some((address) => address.text === text)));
    },
    advertised: () => advertised,
    setDuplicates: (next) => {
      machines = next;
      look();
    },
  };
}
