import { makeLatch } from '../../async/latch.ts';
import { runWhenSet } from '../../async/run-when-set.ts';
import { rangeContains } from '../../core/ip/range.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { emptyTable, type Listener, type Listeners, usesHaproxy } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Client, Host } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';

/**
 * Ends the connections of HAProxy whose clients a change of source ranges has excluded: nftables checks the ranges when a
 * connection opens, and not at each packet.
 */
export type ExcludedClients = {
  /** After a change is in force. Of the first one, of a new process, all listeners with source ranges count as changed. */
  follow(listeners: Listeners): void;
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

  const work = async (signal: AbortSignal): Promise<void> => {
    const keys = [...changed];
    changed.clear();
    const restricted = keys.flatMap((key) => listeners?.get(key) ?? []).filter(endsExcluded);
    try {
      await deps.host.endConnections(restricted, signal, isExcluded);
    } catch (error) {
      for (const key of keys) changed.add(key);
      throw error;
    }
  };

  return {
    follow: (next) => {
      const before = listeners;
      listeners = next;
      for (const key of PersistentMap.changedKeys(before ?? emptyTable.listeners, next)) {
        const [old, now] = [before?.get(key), next.get(key)];
        if (before !== undefined && (old === undefined || old.sourceRanges === now?.sourceRanges)) continue;
        if (now !== undefined && endsExcluded(now)) changed.add(key);
      }
      if (changed.size > 0) due.set();
    },
    run: (signal) =>
      runWhenSet({
        ...deps,
        what: 'ending connections from outside the source ranges',
        due,
        work: () => work(signal),
        retry: { firstMs: 200, mostMs: 30_000 },
        signal,
      }),
  };
}

/** A host that is withdrawn has its listeners closed and draining: their connections continue. */
function endsExcluded(listener: Listener): boolean {
  const { sourceRanges, isDraining } = listener;
  const isWithdrawn = isDraining && sourceRanges?.length === 0;
  return sourceRanges !== undefined && !isWithdrawn && usesHaproxy(listener);
}

function isExcluded({ sourceRanges = [] }: Listener, { address }: Client): boolean {
  return !sourceRanges.some((range) => rangeContains(range, address));
}
