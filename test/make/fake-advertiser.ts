import { isDeepStrictEqual } from 'node:util';
import { untilAborted } from '../../src/async/abort.ts';
import { makeSubscribers } from '../../src/async/subscribers.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import type { Advertiser } from '../../src/ports/advertiser.ts';
import type { Addresses } from '../../src/ports/host.ts';

/** The neighbours of a host, in memory. Keeps to the contract of its port (test/contract/advertiser.ts). */
export type FakeAdvertiser = {
  readonly advertiser: Advertiser;
  readonly advertised: () => Addresses;
  /** Other machines on the LAN have these addresses: text → MAC. */
  readonly setDuplicates: (machines: ReadonlyMap<string, string>) => void;
};

/** `announced` gets each new address that is advertised. */
export function makeFakeAdvertiser(announced: Set<string> = new Set()): FakeAdvertiser {
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
    advertised: () => advertised,
    setDuplicates: (next) => {
      machines = next;
      look();
    },
  };
}
