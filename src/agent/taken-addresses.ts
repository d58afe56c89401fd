import { makeBackoff } from '../async/backoff.ts';
import type { Ip } from '../core/ip/ip.ts';
import type { TrafficTable } from '../core/traffic/table.ts';
import type { DuplicateProbe } from '../ports/advertiser.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { withListeners } from './listener-changes.ts';

/**
 * The addresses of the last table that another host may have taken over since: this host has booted, and has not read the Lease.
 * They are not added until the first table is published, because only the holder of the Lease publishes one.
 */
export type TakenAddresses = {
  /** From now on, addresses that another machine has count as taken. Probes those of `table`. */
  watch(table: TrafficTable, probe: DuplicateProbe, signal: AbortSignal): Promise<void>;
  /** Another machine answers for these: text of the address → its MAC. Resolves with whether this is news. */
  note(found: ReadonlyMap<string, string>): boolean;
  /** The Lease was read: no address counts as taken any more. */
  end(): void;
  /** The table without the listeners on these addresses. */
  without(table: TrafficTable): TrafficTable;
  /** Why they are not served; `undefined`: there are none. */
  trouble(): string | undefined;
};

const mostTries = 3;
/** The addresses are not served until the last try has failed. */
const retry = { firstMs: 200, mostMs: 1_000 };
const mostShown = 20;

export function makeTakenAddresses({ clock, log }: { readonly clock: Clock; readonly log: Log }): TakenAddresses {
  let isWatching = false;
  let taken: ReadonlySet<string> = new Set();

  const tryProbe = async (
    addresses: readonly Ip[],
    probe: DuplicateProbe,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, string>> => {
    const backoff = makeBackoff(retry);
    for (let tries = 1; ; tries++)
      try {
        return await probe(addresses, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (tries < mostTries) {
          await clock.sleep(backoff.next(), signal);
          continue;
        }
        log.error(
          { err: error },
          'the LAN cannot be probed: each address of the last table may be that of another machine',
        );
        return new Map(addresses.map(({ text }) => [text, 'unknown']));
      }
  };

  const note = (found: ReadonlyMap<string, string>): boolean => {
    const fresh = isWatching ? [...found].filter(([text]) => !taken.has(text)) : [];
    if (fresh.length === 0) return false;
    taken = new Set([...taken, ...fresh.map(([text]) => text)]);
    log.error(
      { addresses: fresh.slice(0, mostShown).map((parts) => parts.join(' ')), count: fresh.length },
      'not served before the Lease is read: another machine on the LAN answers for addresses of the last table',
    );
    return true;
  };

  return {
    watch: async ({ listeners }, probe, signal) => {
      isWatching = true;
      const added = [...listeners.values()].filter(({ isHostAddress }) => !isHostAddress);
      const addresses = [...new Map(added.map(({ address }) => [address.text, address])).values()];
      note(await tryProbe(addresses, probe, signal));
    },
    note,
    end: () => {
      isWatching = false;
      taken = new Set();
    },
    without: (table) => {
      if (taken.size === 0) return table;
      const theirs = [...table.listeners.values()].filter(({ address }) => taken.has(address.text));
      return withListeners(
        table,
        theirs.map(({ key }) => [key, undefined]),
      );
    },
    trouble: () => {
      const [first, ...others] = taken;
      if (first === undefined) return undefined;
      const shown = others.length === 0 ? first : `${first} and ${others.length} others`;
      return `waiting for the Lease: another machine on the LAN answers for ${shown}`;
    },
  };
}
