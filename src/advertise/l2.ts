import { makeBackoff, waitLimits } from '../async/backoff.ts';
import { makeLatch, waitAtMost } from '../async/latch.ts';
import { superviseAll } from '../async/supervise-all.ts';
import type { Ip } from '../core/ip/ip.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Clock } from '../ports/clock.ts';
import type { Advertiser } from '../ports/advertiser.ts';
import type { Addresses } from '../ports/host.ts';
import type { Links } from '../ports/network.ts';
import type { Defence } from './defence.ts';
import type { DuplicateWatch } from './duplicates.ts';
import type { FrameSender } from './frame-sender.ts';
import { announcementOf } from './frames.ts';

/**
 * Times after the first announcement, in ms: a neighbour may have missed it, or a switch port may not have forwarded it
 * yet.
 */
const repeatsMs = [5_000, 30_000];
/** Addresses that are added within this time are repeated together. */
const batchMs = 500;
/** A repeat that is later than this shows that the process was stopped or suspended: another host may have the addresses. */
const lateMs = 1_000;
/** So often the next addresses, at most so many, are searched for again: a machine may have got one, and not have announced it. */
const [searchMs, mostSearched] = [300_000, 100];

/**
 * Gratuitous ARP and unsolicited neighbour advertisements for the addresses of this host: at once, and again after 5 and
 * 30 seconds; likewise when they were restored or moved, their link came up, or another machine announced them. Another
 * machine that answers for one of them, then or at a later search, is logged and reported. The address is announced
 * nevertheless (ADR 0013).
 */
export function makeL2Advertiser(deps: {
  readonly sender: FrameSender;
  readonly duplicates: DuplicateWatch;
  readonly defence: Defence;
  readonly links: Links;
  readonly clock: Clock;
}): Advertiser {
  const { sender, duplicates, defence, links, clock } = deps;
  let advertised: Addresses = PersistentMap.empty();
  /** Due time (monotonic ms) → texts of the addresses to announce then. */
  const repeats = new Map<number, Set<string>>();
  const wake = makeLatch();

  const backoff = makeBackoff(waitLimits.patient);
  /** Replaces the repeats of an earlier announcement, so a link flap causes no storm. */
  const repeatAfter = (pausesMs: readonly number[], texts: readonly string[]): void => {
    for (const batch of repeats.values()) for (const text of texts) batch.delete(text);
    for (const afterMs of pausesMs) {
      const dueMs = Math.ceil((clock.monotonic() + afterMs) / batchMs) * batchMs;
      repeats.set(dueMs, new Set([...(repeats.get(dueMs) ?? []), ...texts]));
    }
    wake.set();
  };

  /** Announces those that are still advertised, on their current links; again after growing waits while no frame can be sent. */
  const announce = (texts: Iterable<string>): void => {
    const addresses = [...texts].flatMap((text) => advertised.get(text) ?? []);
    const frames = addresses.flatMap((address) => {
      const link = links.linkOf(address);
      return link === undefined ? [] : [announcementOf(address, link.mac, link.index)];
    });
    void sender.announce(frames).then((isSent) => {
      if (isSent) return backoff.reset();
      repeatAfter(
        [backoff.next()],
        addresses.map(({ text }) => text),
      );
    });
    duplicates.look(addresses);
  };

  const announceAndRepeat = (texts: readonly string[]): void => {
    if (texts.length === 0) return;
    announce(texts);
    repeatAfter(repeatsMs, texts);
  };

  /** Not while another machine answers the probe: each announcement is followed by a probe. */
  const attackable = (text: string): Ip | undefined => {
    const address = advertised.get(text);
    return address?.family === 6 && duplicates.isProbing(text) ? undefined : address;
  };

  const repeat = async (signal: AbortSignal): Promise<void> => {
    for (;;) {
      const nextMs = Math.min(...repeats.keys());
      if (nextMs === Number.POSITIVE_INFINITY) await wake.wait(signal);
      else await waitAtMost(nextMs - clock.monotonic(), wake, clock, signal);
      const nowMs = clock.monotonic();
      const late = new Set<string>();
      for (const [dueMs, batch] of repeats) {
        if (dueMs > nowMs) continue;
        repeats.delete(dueMs);
        if (nowMs - dueMs <= lateMs) announce(batch);
        else for (const text of batch) late.add(text);
      }
      // By then this host knows whether it still holds the Lease.
      if (late.size > 0) repeats.set(nowMs + (repeatsMs[0] ?? 0), late);
    }
  };

  const searchAgain = async (signal: AbortSignal): Promise<never> => {
    let last: string | undefined;
    for (;;) {
      await clock.sleep(searchMs, signal);
      const texts = [...advertised.keys()].toSorted();
      const begin = texts.findIndex((text) => last === undefined || text > last);
      const next = texts.slice(Math.max(begin, 0)).slice(0, mostSearched);
      last = next.at(-1);
      duplicates.look(next.flatMap((text) => advertised.get(text) ?? []));
    }
  };

  return {
    advertise: (addresses) => {
      const changed = PersistentMap.changedKeys(advertised, addresses);
      if (changed.length === 0) return;
      const fresh = changed.filter((text) => !advertised.has(text));
      advertised = addresses;
      duplicates.retain(addresses);
      announceAndRepeat(fresh);
    },
    trouble: () => {
      const words = sender.failure();
      return words && `addresses cannot be announced: ${words}`;
    },
    onDuplicates: (listener) => duplicates.onDuplicates(listener),
    run: (signal) => {
      const announceMine = (texts: readonly string[]): void =>
        announceAndRepeat(texts.filter((text) => advertised.has(text)));
      const ends = [
        links.onStaleNeighbours((addresses) => announceMine(addresses.map(({ text }) => text))),
        defence.onAttack(announceMine),
      ];
      return superviseAll(
        [repeat, searchAgain, (until) => duplicates.run(until), (until) => defence.run(attackable, until)],
        signal,
      ).finally(() => ends.forEach((end) => end()));
    },
  };
}
