import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { emptyTable, type TrafficTable } from '../../core/traffic/table.ts';
import type { GatedListener } from '../../ports/gate.ts';

/**
 * Since when each listener is published, as this host sees it. Those of the first table were published before this process
 * started, or so long ago that it makes no difference.
 */
export function makePublications(
  monotonic: () => number,
): (listeners: TrafficTable['listeners']) => PersistentMap<ListenerKey, GatedListener> {
  let isFirst = true;
  let known: PersistentMap<ListenerKey, GatedListener> = PersistentMap.empty();
  let before: TrafficTable['listeners'] = emptyTable.listeners;
  return (listeners) => {
    const since = isFirst ? -Infinity : monotonic();
    known = known.with(
      PersistentMap.changedKeys(before, listeners).map((key) => {
        const listener = listeners.get(key);
        if (listener === undefined) return [key, undefined];
        const earlierMs = before.get(key)?.service === listener.service ? known.get(key)?.publishedMs : undefined;
        const publishedMs = listener.isPublished ? (earlierMs ?? since) : undefined;
        return [key, { family: listener.address.family, publishedMs }];
      }),
    );
    isFirst = false;
    before = listeners;
    return known;
  };
}
