import { makeLatch, waitAtMost } from '../async/latch.ts';
import { superviseAll } from '../async/supervise-all.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Clock } from '../ports/clock.ts';
import type { Addresses, Advertiser } from '../ports/host.ts';
import type { DuplicateWatch } from './duplicates.ts';
import type { FrameSender } from './frame-sender.ts';
import { announcementOf, type FindLink } from './frames.ts';

/**
 * Times after the first announcement, in ms: a neighbour may have missed it, or a switch port may not have forwarded it
 * yet.
 */
const repeatsMs = [5_000, 30_000];
/** Addresses that are added within this time are repeated together. */
const batchMs = 500;

/**
 * Gratuitous ARP and unsolicited neighbour advertisements for the addresses of this host: at once, and again after 5 and
 * 30 seconds. Another machine that answers for one of them is logged. The address is announced nevertheless: a Service
 * must not stop because some machine on the LAN claims its address.
 */
export function makeL2Advertiser({
  sender,
  duplicates,
  findLink,
  clock,
}: {
  readonly sender: FrameSender;
  readonly duplicates: DuplicateWatch;
  readonly findLink: FindLink;
  readonly clock: Clock;
}): Advertiser {
  let advertised: Addresses = PersistentMap.empty();
  /** One for each of `repeatsMs`: due time (monotonic ms) → texts of the addresses to announce then. */
  const repeats = repeatsMs.map(() => new Map<number, Set<string>>());
  const wake = makeLatch();

  /** Announces those that are still advertised, on their current links. */
  const announce = (texts: Iterable<string>): void => {
    const addresses = [...texts].flatMap((text) => advertised.get(text) ?? []);
    sender.announce(
      addresses.flatMap((address) => {
        const link = findLink(address);
        return link === undefined ? [] : [announcementOf(address, link.mac, link.index)];
      }),
    );
    duplicates.look(addresses);
  };

  const announceAndRepeat = (texts: readonly string[]): void => {
    if (texts.length === 0) return;
    announce(texts);
    const nowMs = clock.monotonic();
    for (const [number, afterMs] of repeatsMs.entries()) {
      const batches = repeats[number] ?? new Map<number, Set<string>>();
      // This announcement replaces the repeats of an earlier one, so a link flap causes no storm.
      for (const batch of batches.values()) for (const text of texts) batch.delete(text);
      const dueMs = Math.ceil((nowMs + afterMs) / batchMs) * batchMs;
      batches.set(dueMs, new Set([...(batches.get(dueMs) ?? []), ...texts]));
    }
    wake.set();
  };

  const repeat = async (signal: AbortSignal): Promise<void> => {
    for (;;) {
      const nextMs = Math.min(...repeats.flatMap((batches) => [...batches.keys()]));
      if (nextMs === Number.POSITIVE_INFINITY) await wake.wait(signal);
      else await waitAtMost(nextMs - clock.monotonic(), wake, clock, signal);
      for (const batches of repeats)
        for (const [dueMs, batch] of batches) {
          if (dueMs > clock.monotonic()) continue;
          batches.delete(dueMs);
          announce(batch);
        }
    }
  };

  return {
    advertise: (addresses) => {
      const fresh = PersistentMap.changedKeys(advertised, addresses).filter((text) => !advertised.has(text));
      advertised = addresses;
      announceAndRepeat(fresh);
    },
    again: (addresses) =>
      announceAndRepeat([...new Set(addresses.map(({ text }) => text))].filter((text) => advertised.has(text))),
    run: (signal) => superviseAll([repeat, (until) => duplicates.run(until)], signal),
  };
}
