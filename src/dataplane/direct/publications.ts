import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { emptyTable, type TrafficTable } from '../../core/traffic/table.ts';
import type { GatedListener } from '../../ports/gate.ts';

/** Since when each listener is published, as this host sees it. */
export function makePublications(
  monotonic: () => number,
): (listeners: TrafficTable['listeners']) => PersistentMap<ListenerKey, GatedListener> {
  let known: PersistentMap<ListenerKey, GatedListener> = PersistentMap.empty();
  let before: TrafficTable['listeners'] = emptyTable.listeners;
  return (listeners) => {
    const nowMs = monotonic();
    known = known.with(
      PersistentMap.changedKeys(before, listeners).map((key) => {
        const listener = listeners.get(key);
        if (listener === undefined) return [key, undefined];
        const earlier = before.get(key)?.uid === listener.uid ? known.get(key) : undefined;
        if (listener.isPublished && earlier?.publishedMs !== undefined) return [key, earlier];
        const publishedMs = listener.isPublished ? nowMs : undefined;
        const isFoundPublished = listener.isPublished && earlier === undefined;
        return [key, { family: listener.address.family, publishedMs, isFoundPublished }];
      }),
    );
    before = listeners;
    return known;
  };
}
