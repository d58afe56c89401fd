import type { ListenerKey } from '../../../core/model/names.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import { emptyTable, isNodesBackend, type Listener, type TrafficTable } from '../../../core/traffic/table.ts';
import type { GatedListener, Widened } from '../../../ports/gate.ts';

type Published = Pick<TrafficTable, 'listeners' | 'backends'>;

/** Since when each listener is published, and since when on all nodes, as this host sees it. */
export function makePublications(
  monotonic: () => number,
): (table: Published) => PersistentMap<ListenerKey, GatedListener> {
  let known: PersistentMap<ListenerKey, GatedListener> = PersistentMap.empty();
  let before: Published = emptyTable;
  return (table) => {
    const nowMs = monotonic();
    known = known.with(
      PersistentMap.changedKeys(before.listeners, table.listeners).map((key) => {
        const listener = table.listeners.get(key);
        if (listener === undefined) return [key, undefined];
        const old = before.listeners.get(key);
        const earlier = old?.uid === listener.uid ? known.get(key) : undefined;
        const widened = old && earlier && widenedOf(old, listener, earlier, before, nowMs);
        if (listener.isPublished && earlier?.publishedMs !== undefined)
          return [key, widened === earlier.widened ? earlier : { ...earlier, widened }];
        const publishedMs = listener.isPublished ? nowMs : undefined;
        const isFoundPublished = listener.isPublished && earlier === undefined;
        return [key, { family: listener.address.family, publishedMs, isFoundPublished, widened }];
      }),
    );
    before = table;
    return known;
  };
}

/** From nodes with endpoints to all nodes: the former ones serve the listener already, if they are known. */
function widenedOf(
  old: Listener,
  { backend, isPublished }: Listener,
  earlier: GatedListener,
  before: Published,
  atMs: number,
): Widened | undefined {
  if (!isPublished || earlier.publishedMs === undefined) return undefined;
  if (old.backend === backend) return earlier.widened;
  const servers = isNodesBackend(backend) ? before.backends.get(old.backend)?.servers : undefined;
  return servers && { atMs, before: new Set(servers.map(({ node }) => node)) };
}
