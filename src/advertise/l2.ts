import { makeLatch } from '../async/latch.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Ip } from '../core/ip/ip.ts';
import type { Clock } from '../ports/clock.ts';
import type { Addresses, Advertiser } from '../ports/host.ts';
import type { FrameSender } from './frame-sender.ts';
import { announcementOf } from './frames.ts';

/** Where the neighbours look for an address: the interface on its LAN; `undefined`: on none, a router sends it here. */
export type FindLink = (address: Ip) => { readonly index: number; readonly mac: string } | undefined;

/** After the first announcement, ms: a neighbour may have missed it, or a switch may have just come up. */
const repeatsMs = [5_000, 30_000];

/**
 * Gratuitous ARP and unsolicited neighbour advertisements for the addresses of this host: at once, again after 5 and 30
 * seconds, and whenever a link comes up.
 */
export function makeL2Advertiser({
  sender,
  findLink,
  clock,
}: {
  readonly sender: FrameSender;
  readonly findLink: FindLink;
  readonly clock: Clock;
}): Advertiser {
  let advertised: Addresses = PersistentMap.empty();
  /** Due time (monotonic ms) → the addresses that are told then, if they are still ours. */
  const due = new Map<number, Map<string, Ip>>();
  const wake = makeLatch();

  const announce = (addresses: Iterable<Ip>): void => {
    sender.announce(
      [...addresses].flatMap((address) => {
        const link = findLink(address);
        return link === undefined ? [] : [announcementOf(address, link.mac, link.index)];
      }),
    );
  };

  const announceAndRepeat = (addresses: readonly Ip[]): void => {
    if (addresses.length === 0) return;
    announce(addresses);
    const nowMs = clock.monotonic();
    for (const afterMs of repeatsMs) {
      const atMs = Math.ceil((nowMs + afterMs) / 500) * 500; // addresses that come together are told again together
      const batch = due.get(atMs) ?? new Map<string, Ip>();
      for (const address of addresses) batch.set(address.text, address);
      due.set(atMs, batch);
    }
    wake.set();
  };

  return {
    advertise: (addresses) => {
      const fresh = PersistentMap.changedKeys(advertised, addresses).flatMap((text) =>
        advertised.has(text) ? [] : (addresses.get(text) ?? []),
      );
      advertised = addresses;
      announceAndRepeat(fresh);
    },
    again: () => announceAndRepeat([...advertised.values()]),
    run: async (signal) => {
      for (;;) {
        const next = Math.min(...due.keys());
        if (next === Number.POSITIVE_INFINITY) {
          await wake.wait(signal);
          continue;
        }
        await clock.sleep(Math.max(0, next - clock.monotonic()), signal);
        const batch = due.get(next);
        due.delete(next);
        announce([...(batch?.values() ?? [])].filter(({ text }) => advertised.has(text)));
      }
    },
  };
}
