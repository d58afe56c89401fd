import { waitLimits } from '../../async/backoff.ts';
import { makeLatch } from '../../async/latch.ts';
import { runWhenSet } from '../../async/run-when-set.ts';
import type { Ip } from '../../core/ip/ip.ts';
import { rangeContains } from '../../core/ip/range.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { emptyTable, type Listener, type Listeners, usesHaproxy, withdrawnRanges } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Client, Host } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import { needsOwnRange } from './elements.ts';

/**
 * Ends the connections of HAProxy whose clients a change of source ranges has excluded: nftables checks the ranges when a
 * connection opens, and not at each packet.
 */
export type ExcludedClients = {
  /**
   * After a change is in force; `own` are the host's own addresses. Of the first one, of a new process, all listeners with source
   * ranges count as changed.
   */
  follow(listeners: Listeners, own: ReadonlyMap<string, Ip>): void;
  /** Ends them until `signal` aborts; again after a failure. */
  run(signal: AbortSignal): Promise<never>;
};

export function makeExcludedClients(deps: {
  readonly host: Pick<Host, 'endConnections'>;
  readonly clock: Clock;
  readonly log: Log;
}): ExcludedClients {
  const due = makeLatch();
  const changed = new Set<ListenerKey>();
  let listeners: Listeners | undefined;
  let ownAddresses: ReadonlyMap<string, Ip> = new Map();

  const work = async (signal: AbortSignal): Promise<void> => {
    const keys = [...changed];
    changed.clear();
    const restricted = keys.flatMap((key) => listeners?.get(key) ?? []).filter(endsExcluded);
    try {
      const own = ownAddresses;
      await deps.host.endConnections(restricted, signal, (listener, client) => isExcluded(listener, client, own));
    } catch (error) {
      for (const key of keys) changed.add(key);
      throw error;
    }
  };

  return {
    follow: (next, own) => {
      const before = listeners;
      [listeners, ownAddresses] = [next, own];
      for (const key of PersistentMap.changedKeys(before ?? emptyTable.listeners, next)) {
        const [old, now] = [before?.get(key), next.get(key)];
        if (now === undefined || !endsExcluded(now)) continue;
        const isSame = old === undefined || (old.sourceRanges === now.sourceRanges && endsExcluded(old));
        if (before === undefined || !isSame) changed.add(key);
      }
      if (changed.size > 0) due.set();
    },
    run: (signal) =>
      runWhenSet({
        ...deps,
        what: 'ending connections from outside the source ranges',
        due,
        work: () => work(signal),
        retry: waitLimits.usual,
        signal,
      }),
  };
}

/** A withdrawn host keeps the connections of its listeners. */
function endsExcluded(listener: Listener): boolean {
  const { sourceRanges } = listener;
  return sourceRanges !== undefined && sourceRanges !== withdrawnRanges && usesHaproxy(listener);
}

/** Whether nftables would drop a new connection of the client. */
function isExcluded(listener: Listener, { address }: Client, own: ReadonlyMap<string, Ip>): boolean {
  const { sourceRanges = [] } = listener;
  if (sourceRanges.some((range) => rangeContains(range, address))) return false;
  return address.text !== listener.address.text || !needsOwnRange(listener, own);
}
